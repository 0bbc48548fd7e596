"""`biosig`: from raw physiological recordings to a trained and honestly judged model."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from biosig_cli.services.embed import Embeddings

__version__ = "0.1.0"


def embed(*inputs: str, checkpoint: str, **settings: Any) -> "Embeddings":
    """Return the embeddings of raw recordings, made one record at a time while they are asked for.

    `for embedding in biosig_cli.embed("recordings", checkpoint="artifacts/pretrain"): ...` gives
    `record`, `subject`, `start_s`, `usable`, `flags` and `values` of each window. Records that
    can't be used are passed over; `skipped` of what is returned names them, with the reason.

    Args:
        inputs: Files or folders of recordings, window stores, or .npz files of windows.
        checkpoint: A run, or one of its checkpoints.
        settings: Others of `biosig embed`, such as `per="token"`.

    Raises:
        BiosigError: As `biosig embed`, where it prints one.
    """
    from biosig_cli.services.embed import EmbedConfig, Embeddings

    return Embeddings(EmbedConfig.parse({"inputs": inputs, "checkpoint": checkpoint} | settings))
