"""What the files of two real generators do not tell."""

ANIME = """{"range": "unit", "operations": [
  ["linear", "dense_43"], ["reshape", 128, 4, 4, "HWC"],
  ["conv_transpose", "conv2d_transpose_55", 2, 1], ["relu"],
  ["batch_norm", "batch_normalization_44", 1e-3],
  ["conv_transpose", "conv2d_transpose_56", 2, 1], ["relu"],
  ["batch_norm", "batch_normalization_45", 1e-3],
  ["conv_transpose", "conv2d_transpose_57", 2, 1], ["relu"],
  ["batch_norm", "batch_normalization_46", 1e-3],
  ["conv_transpose", "conv2d_transpose_58", 2, 1], ["relu"],
  ["batch_norm", "batch_normalization_47", 1e-3],
  ["conv_transpose", "conv2d_transpose_59", 1, 1], ["crop", 64, 64], ["sigmoid"]]}"""

CELEBA = """{"prior": "uniform", "operations": [
  ["conv_transpose", "generator_deconv.0.0", 1, 0], ["batch_norm", "generator_deconv.0.1"],
  ["conv", "generator_deconv.1.0", 1, 1], ["batch_norm", "generator_deconv.1.1"],
  ["leaky_relu", 0.2],
  ["conv_transpose", "generator_deconv.2.0", 2, 1], ["batch_norm", "generator_deconv.2.1"],
  ["leaky_relu", 0.2],
  ["conv_transpose", "generator_deconv.3.0", 2, 1], ["batch_norm", "generator_deconv.3.1"],
  ["leaky_relu", 0.2],
  ["conv_transpose", "generator_deconv.4.0", 2, 1], ["tanh"]]}"""
