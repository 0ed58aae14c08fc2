"""Speech: corpora, features, augmentation, metrics. Knows no system.

data            what every corpus becomes             features        log-mel, MFCC, Kaldi's fbank and MFCC
audio           recordings in and out                 normalise       band statistics, utterance and sliding means
splits          no speaker on two sides               vad             Kaldi's energy VAD, span of a word
folders         a folder a class, or a table          stacking        frames side by side, low frame rate
corpora         `load_speech`: by name or folder      feature_cache   features of a corpus on disk
speech_commands, fsdd, aishell, librispeech, voxceleb, kaldi: layouts; download: where they can be had
spoken          the embedded corpora: five descriptions, `load`, `make`; how they are planned and spoken:
                spoken_plan, spoken_corpora, spoken_maker, spoken_speakers, vocabulary; espeak: the synthesiser
augment/        noise, mixing, rooms, telephone, speed, SpecAugment
metrics/        EER, detection costs, Cllr, Cavg, keyword curves, confusion, error rates
"""
