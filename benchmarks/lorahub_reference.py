"""One job of the `lorahub` package from PyPI, timed; run by its own Python, which has no part of this project."""

import json
import sys
import time


def main() -> None:
    """Read the job from standard input; print the seconds it took to import, to compose and to save."""
    job = json.load(sys.stdin)
    begun = time.perf_counter()
    from lorahub.algorithm import lorahub_learning

    imported = time.perf_counter()
    weights, model, _ = lorahub_learning(
        lora_module_list=job["modules"],
        example_inputs=job["inputs"],
        example_outputs=job["outputs"],
        max_inference_step=job["evaluations"],
        model_name_or_path=job["base"],
        batch_size=None,
        seed=0,
    )
    composed = time.perf_counter()
    model.save_pretrained(job["out"])
    saved = time.perf_counter()
    print("\n" + json.dumps({"import": imported - begun, "compose": composed - imported, "save": saved - composed, "weights": list(map(float, weights))}))


if __name__ == "__main__":
    main()
