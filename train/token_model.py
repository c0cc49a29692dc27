"""What config.json says of a network over tokens."""


def token_config(description, network, length, vocabulary=None):
    """network: its keys, of a text transformer TextDiT's arguments. The path mixes with kappa = t; without a vocabulary tokens are numbers."""
    output = {"kind": "tokens"}
    if vocabulary:
        output["vocabulary"] = vocabulary
    return {
        "schema": "velocityd.model/1",
        "description": description,
        "license": "CC0-1.0",
        "network": {"architecture": "text_dit", **network},
        "flow": {
            "space": "tokens",
            "shape": [length],
            "source": {"type": "mask" if network["masked"] else "uniform_tokens"},
            "scheduler": {"type": "polynomial", "n": 1},
            "prediction": "logits",
            "time": {"direction": "noise_to_data", "scale": 1.0},
        },
        "output": output,
        "defaults": {"solver": {"method": "ctmc_euler", "steps": 64}},
        "weights": {"file": "model.safetensors"},
    }
