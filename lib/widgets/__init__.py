"""Moving figures: alive in JupyterLab and, without a kernel, in the built page.

base               BookWidget: what every figure inherits
kit                shared script, style sheet and palette
cud_trajectories   chapter 1: OdeTrajectories, particles carried from noise to data by networks that run in the browser
cud_digits         chapter 1: DigitTrajectories, images on their way from noise to digit
hqnas_architecture chapter 2: ArchitectureFront, the searched network block by block as the budget moves along the front
hqnas_gates        chapter 2: GateCurves, norms and thresholds over a search, with all decisions to jump to
hqnas_grids        chapter 2: NestedGrids, the levels of 2, 4 and 8 bits over one histogram of weights
quality_curves     QualityCurves, quality against network calls, for any chapter that trades one for the other
cenet_adjacency    chapter 7: AdjacencyMaps, whom each place of a spectrogram looks at, one panel a stage
cenet_threshold    chapter 7: ThresholdCurves, a threshold on the curve of false alarms and rejects, with clips to hear
mlp                a small network as bytes for a script, and its NumPy twin
png                a PNG from an array, for the stills
"""
