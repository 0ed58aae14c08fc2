"""From a policy to a trained network: quantization-aware, its bits fixed."""

from torch import Tensor
from torch.nn import functional as F

from lib.errors import UserError
from lib.hqnas.config import RecipeConfig
from lib.hqnas.model import Network, Supernet, sliced_from
from lib.hqnas.optimise import Images, make_optimizer, rate_of
from lib.hqnas.space import Choices, SearchSpace, choices_to_list
from lib.training.loop import History, train_loop
from lib.training.run import Run
from lib.training.schedule import set_learning_rate
from lib.training.seeding import derive_seed, isolated_seed
from lib.training.state import TrainingState
from lib.vision.data import ImageSet

KIND = "hqnas"


def retrain(
    space: SearchSpace,
    choices: Choices,
    recipe: RecipeConfig,
    data: ImageSet,
    run: Run | None = None,
    *,
    start: Network | Supernet | None = None,
    clip: str = "per_width",
    quantized: bool = True,
    about: dict | None = None,
) -> tuple[Network, History]:
    """Train the network of a policy, with its bits fixed.

    Args:
        start: inherit these weights (of a supernet: the slice); None: random ones.
        clip: as in ``lib.hqnas.config.GateConfig``. quantized: False trains in floats, whatever the policy's bits.
        about: what else the checkpoint's settings say.

    Returns:
        The network, in evaluation mode, and how its training went.

    Raises:
        UserError: a policy of another space, a checkpoint that cannot be used, a diverged loss.
    """
    run = run or Run()
    if isinstance(start, Supernet):
        start = sliced_from(start, choices)
    network = Network(space, choices, clip, derive_seed(run.seed, "network"), quantized=quantized)
    if start is not None:
        if start.space != space or start.choices != network.choices:
            raise UserError("The weights to start from are of another policy: start from a network of the same one.")
        network.load_state_dict(start.state_dict())
    network = network.to(run.device).train()
    images = Images(data, recipe, run, "retrain")
    optimizer = make_optimizer(network.parameters(), recipe)
    called, stepped = network, optimizer
    if run.fabric is not None:
        called = run.fabric.setup_module(network)
        stepped = run.fabric.setup_optimizers(optimizer)

    def step(index: int) -> dict[str, Tensor]:
        set_learning_rate(optimizer, rate_of(recipe, index))
        x, labels = images.batch(index)
        stepped.zero_grad()
        logits = called(x)
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        loss.backward() if run.fabric is None else run.fabric.backward(loss)
        stepped.step()
        return {"loss": loss, "accuracy": (logits.detach().argmax(1) == labels).float().mean()}

    config = {
        **space.to_dict(), "blocks": choices_to_list(choices), "clip": clip, "quantized": quantized, "seed": run.seed,
        **(about or {}),
    }  # fmt: skip
    state = TrainingState(
        kind=KIND, config=config, modules={"network": network}, optimizers={"weights": optimizer}, fabric=run.fabric
    )
    settings = run.loop_settings(recipe.steps)
    with isolated_seed(derive_seed(run.seed, "dropout", run.rank)):
        history = train_loop(
            step, state=state, settings=settings, progress=run.progress, curve=run.curve, description=run.description
        )
    return network.eval().requires_grad_(False), history
