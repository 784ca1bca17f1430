"""Heads that are the embedding: where a configuration ties the two, a head in the file
is unused.
"""

from mergetrace.formats.model_config import ModelConfig

UNUSED_HEAD = "is in the file but unused where the configuration ties"

# Architectures whose configuration ties unless it says otherwise, by transformers 5.23:
# the value that their configuration class has by default. `save_pretrained` writes only
# what differs from that, so silence is how most of these are published.
_KINDS = (
    "bloom cohere cohere2 cohere2_moe ernie4_5 ernie4_5_moe falcon falcon_mamba gemma"
    " gemma2 gemma3 gemma3_text gemma3n gemma3n_text gemma4 gemma4_text gpt-sw3 gpt2"
    " gpt_bigcode gpt_neo jetmoe lfm2 lfm2_moe mamba minicpm3 modernbert-decoder mpt"
    " opt recurrent_gemma smollm3 starcoder2 vaultgemma xglm zamba zamba2"
)
TIED_BY_DEFAULT = frozenset(_KINDS.split())


def why_tied(config: ModelConfig) -> str | None:
    """Why loaders take the embedding for the head, in words; None where they do not, or
    where nothing says so.
    """
    if config.tie_word_embeddings:
        return "its configuration says tie_word_embeddings"
    kind = config.model_type
    if config.tie_word_embeddings is None and kind in TIED_BY_DEFAULT:
        return f"its configuration is silent, and {kind} ties by default"
    return None
