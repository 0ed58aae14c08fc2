"""Images: data sets, mini-batches, and distances between sets of images.

data         `load_images`: digits, known sets, folders, arrays   batches      mini-batches by (seed, step)
known_sets   MNIST, Fashion-MNIST, CIFAR-10 files                 classifier   small network with features
folders      image folders                                        frechet      Fréchet distance of features
arrays       images in one .npz                                   wasserstein  distances without a network
download     fetch and check real sets                            inception    FID (optional extra)
"""
