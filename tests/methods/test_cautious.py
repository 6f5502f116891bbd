"""Cautious updates: no entry goes against the gradient, and weight decay is none of its business."""

import pytest
import torch
from learners import distance, learner, loss_and_gradient, network, take, windows

from gradinc.methods.cautious import Cautious


def reference(lr, decay, masks_decay=False):
    """AdamW by its formulas with the paper's mask and scale, weight decay after it or in it; after each update."""
    model = network()
    w = learner(model=network()).weights.value.clone()
    m, v = torch.zeros_like(w), torch.zeros_like(w)
    for t, window in enumerate(windows(16, 4), start=1):
        _, g = loss_and_gradient(model, w, window)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        u = m / (1 - 0.9**t) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        if masks_decay:
            u = u + decay * w
        mask = (u * g > 0).double()
        step = u * mask * len(w) / (mask.sum() + 1)
        w = w - lr * step - (0 if masks_decay else lr * decay * w)
    return w


def trained(optimizer, **options):
    mine = learner(Cautious(), optimizer=optimizer, **options)
    for window in windows(16, 4):
        take(mine, window)
        mine.update()
    return mine.weights.value


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_it_is_the_paper_s_c_adamw(decay):
    made = trained("adamw", lr=0.01, weight_decay=decay)
    assert distance(made, reference(0.01, decay)) < 1e-10
    assert decay == 0 or distance(made, reference(0.01, decay, masks_decay=True)) > 1e-3


DECOUPLED = {
    "adamw": {"lr": 0.01, "weight_decay": 0.3},
    "nadam": {"lr": 0.01, "weight_decay": 0.3, "decoupled": True},
    "radam": {"lr": 0.01, "weight_decay": 0.3, "decoupled": True},
    "muon": {"lr": 0.01, "weight_decay": 0.3},
}
OTHER = {
    "sgd": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "adam": {"lr": 0.01, "weight_decay": 0.3},
    "rmsprop": {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.01},
    "adagrad": {"lr": 0.1, "weight_decay": 0.1},
}


@pytest.mark.parametrize("optimizer", DECOUPLED | OTHER)
def test_no_entry_goes_against_the_gradient_and_the_rest_decays(optimizer):
    options = (DECOUPLED | OTHER)[optimizer]
    share = options["lr"] * options["weight_decay"] if optimizer in DECOUPLED else 0.0
    deep = optimizer == "muon"
    cautious = learner(Cautious(), model=hidden() if deep else None, optimizer=optimizer, **options)
    against = 0
    for window in windows(16, 4):
        decayed = cautious.weights.value * (1 - share)
        take(cautious, window)
        g = cautious.weights.grad.clone()
        cautious.update()
        assert torch.equal(cautious.weights.grad, g)  # the mask's g is the one that the optimizer saw
        u = cautious.weights.value - decayed
        masked = u.abs() < 1e-16
        assert (u[~masked] * g[~masked] < 0).all()
        against += int(masked.sum())
    assert against > 0


def hidden():
    """A network with a hidden matrix, which Muon asks for."""
    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, 16), torch.nn.Tanh(), torch.nn.Linear(16, 16), torch.nn.Tanh()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(16, 10)).double()


def test_an_entry_without_a_gradient_does_not_move():
    """The paper's mask is strict: momentum alone does not carry a weight on."""
    mine = learner(Cautious())
    (method,) = mine.methods
    before, g = mine.weights.value.clone(), mine.weights.grad
    with torch.no_grad():
        g.fill_(1)[:100] = 0
        method.transform(g, mine)
        mine.weights.value.sub_(0.1)
        method.stepped(mine.window, mine)
    assert torch.equal(mine.weights.value[:100], before[:100])
    assert (mine.weights.value[100:] < before[100:]).all()


def test_nothing_is_kept_between_two_updates():
    mine = learner(Cautious())
    take(mine, next(windows(16, 4)))
    mine.update()
    assert vars(mine.methods[0]) == {"before": None}
