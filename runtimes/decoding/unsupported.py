"""Options of transformers that zen-edge does not honour, and the values at which they change nothing."""

# name -> the values, beside None, that leave the output as it is
NEUTRAL: dict[str, tuple[object, ...]] = {
    "assistant_early_exit": (),
    "constraints": (),
    "diversity_penalty": (0,),
    "do_sample": (False,),
    "dola_layers": (),
    "encoder_no_repeat_ngram_size": (0,),
    "encoder_repetition_penalty": (1,),
    "epsilon_cutoff": (0,),
    "eta_cutoff": (0,),
    "exponential_decay_length_penalty": (),
    "force_words_ids": (),
    "guidance_scale": (1,),
    "is_assistant": (False,),
    "low_memory": (False,),
    "max_time": (),
    "min_p": (),
    "num_beam_groups": (1,),
    "penalty_alpha": (0,),
    "prompt_lookup_num_tokens": (),
    "remove_invalid_values": (False,),
    "sequence_bias": (),
    "stop_strings": (),
    "temperature": (1,),
    "token_healing": (False,),
    "top_h": (),
    "top_k": (0, 50),
    "top_p": (1,),
    "typical_p": (1,),
    "use_mtp": (False,),
    "watermarking_config": (),
}

# Without do_sample transformers does not look at these, so a checkpoint may hold any value.
SAMPLING_ONLY = frozenset({"temperature", "top_k", "top_p", "top_h", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"})


def changes_output(name: str, value: object) -> bool:
    """Whether this value would change what transformers generates; what is not listed above would not."""
    return name in NEUTRAL and value is not None and value not in NEUTRAL[name]
