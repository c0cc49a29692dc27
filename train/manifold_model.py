"""What config.json says of a flow on a manifold."""


def manifold_config(description, space, network, steps=50):
    fields = {
        "schema": "velocityd.model/1",
        "description": description,
        "license": "CC0-1.0",
        "network": network.description(),
        "flow": {
            "space": space.name,
            "shape": space.shape,
            "source": {"type": "uniform"},
            "scheduler": {"type": "condot"},
            "prediction": "velocity",
            "time": {"direction": "noise_to_data", "scale": 1.0},
        },
        "output": {"kind": "points"},
        "defaults": {"solver": {"method": "midpoint", "steps": steps}},
        "weights": {"file": "model.safetensors"},
    }
    if space.name == "so3":
        fields["flow"]["representation"] = "matrix"
    return fields
