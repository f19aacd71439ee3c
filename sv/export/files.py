"""Export a trained system as one file."""

from pathlib import Path

from sv.export.graphs import load_exportable
from sv.io import atomic_write


def write_file(exp_dir: Path, out: Path, file_format: str, kind: str, model_file: Path | None = None) -> None:
    """Write a system as one file, whole or not at all.

    Args:
        exp_dir: folder of the system.
        out: the file.
        file_format: "onnx" or "torchscript".
        kind: kind of input: "feats" or "waveform".
        model_file: None for models/avg_model.pt.

    Raises:
        UserError: the system is not trained or its files are damaged; the network cannot be exported.
    """
    encoder = load_exportable(exp_dir, model_file)
    if file_format == "torchscript":
        from sv.export.torchscript import trace

        content = trace(encoder, kind).save_to_buffer()
    else:
        from sv.export.onnx_files import feats_model, waveform_model

        content = (feats_model if kind == "feats" else waveform_model)(encoder).SerializeToString()
    with atomic_write(out, "wb") as f:
        f.write(content)
