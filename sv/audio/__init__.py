"""Audio: files and their durations, features, augmentation, telephone lines, tar shards of waveforms."""
