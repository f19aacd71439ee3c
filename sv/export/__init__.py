"""A trained system for other programs: ONNX and TorchScript files, and bundles that do without torch.

graphs       the networks that are exported, with the front-end as a convolution
onnx_files   ONNX files, with what deployment runtimes look for
extraction   the network for the jobs of steps/extract_embeddings.sh, by onnxruntime
torchscript  TorchScript files
parity       proof that either gives the embeddings of the trained model
bundle       one folder with all that a decision needs
model_card   its README.md
runtime      embeddings of a bundle, by onnxruntime
"""
