"""Options of transformers that zen-edge does not honour, and the values at which they change nothing."""

# name -> the values, beside None, that leave the output as it is
NEUTRAL: dict[str, tuple[object, ...]] = {
    "assistant_early_exit": (),
    "constraints": (),
    "diversity_penalty": (0,),
    "dola_layers": (),
    "force_words_ids": (),
    "guidance_scale": (1,),
    "is_assistant": (False,),
    "low_memory": (False,),
    "max_time": (),
    "num_beam_groups": (1,),
    "penalty_alpha": (0,),
    "remove_invalid_values": (False,),
    "stop_strings": (),
    "token_healing": (False,),
    "top_h": (),
    "use_mtp": (False,),
    "watermarking_config": (),
}

# Without do_sample transformers does not look at these, so a checkpoint may hold any value; from a caller one that would change
# something is a mistake. name -> the values, beside None, that would not.
SAMPLING_ONLY: dict[str, tuple[object, ...]] = {
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "min_p": (0,),
    "temperature": (1,),
    "top_h": (),
    "top_k": (0, 50),
    "top_p": (1,),
    "typical_p": (1,),
}


def changes_output(name: str, value: object) -> bool:
    """Whether this value would change what transformers generates; what is not listed above would not."""
    return name in NEUTRAL and value is not None and value not in NEUTRAL[name]
