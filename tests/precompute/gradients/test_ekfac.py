"""EK-FAC against exact curvature on the tiny model, and where its assumption holds exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from precompute.config.methods import EkfacSettings
from precompute.gradients.ekfac import Ekfac, find_linear_layers, fit_ekfac
from precompute.gradients.flat_vectors import count_parameters, differentiate
from precompute.model.diffusion import Items, Model, NoiseBank

GROUP, DRAWS, SEED = "self_attn", 2, 5
NAME = "to_out"  # 64 x 64: small enough for its exact curvature


@pytest.fixture(scope="module")
def factors(model: Model, items: Items) -> dict[str, np.ndarray]:
    return fit_ekfac(model, items[:8], GROUP, EkfacSettings(draws=DRAWS, labels="observed", seed=SEED))


@pytest.fixture(scope="module")
def gradients(model: Model, items: Items) -> torch.Tensor:
    """Per-sample gradients of the samples that the factors were fitted on, [n, P] float64."""
    parameters, found = model.parameters(GROUP), []
    bank = NoiseBank(1, DRAWS, 1, SEED)
    for row in range(8):
        for cell in bank.cells():
            t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
            loss = model.loss(items.latents[row], model.condition(items[[row]]), t, eps)
            found.append(differentiate(loss, parameters).double())
    return torch.stack(found)


def layer_of(model: Model) -> int:
    return next(i for i, layer in enumerate(find_linear_layers(model, GROUP)) if NAME in layer.name)


def test_layers_are_cut_out_and_put_back(model: Model, gradients: torch.Tensor) -> None:
    layers = find_linear_layers(model, GROUP)
    assert layers and sum(layer.module.weight.numel() for layer in layers) <= count_parameters(model.parameters(GROUP))
    for layer in layers:
        found = torch.zeros_like(gradients[:2])
        layer.insert_matrix(layer.extract_matrix(gradients[:2]), found)
        parts = [layer.weight] + ([layer.bias] if layer.bias else [])
        assert all(torch.equal(found[:, part], gradients[:2, part]) for part in parts)
        assert int((found != 0).sum()) <= 2 * layer.extract_matrix(gradients[0]).numel()


def test_its_eigenvalues_are_the_exact_curvature_in_its_basis(
    model: Model, factors: dict[str, np.ndarray], gradients: torch.Tensor
) -> None:
    for number, layer in enumerate(find_linear_layers(model, GROUP)):
        outputs, inputs = (torch.from_numpy(factors[f"{n}-{number}"]).double() for n in ("outputs", "inputs"))
        wanted = (outputs.T @ layer.extract_matrix(gradients) @ inputs).square().mean(0)
        found = torch.from_numpy(factors[f"values-{number}"]).double()
        assert float((found - wanted).norm() / wanted.norm()) <= 1e-3


def test_it_is_nearer_to_the_exact_curvature_than_plain_kfac_and_the_diagonal(
    model: Model, factors: dict[str, np.ndarray], gradients: torch.Tensor
) -> None:
    """In Frobenius norm; the first is a theorem (George et al. 2018), the second what it is for."""
    number = layer_of(model)
    layer = find_linear_layers(model, GROUP)[number]
    samples = layer.extract_matrix(gradients).flatten(1)  # [n, out x in]
    outputs, inputs = (torch.from_numpy(factors[f"{n}-{number}"]).double() for n in ("outputs", "inputs"))
    basis = torch.kron(outputs, inputs)  # columns: eigenvectors of the factors' product
    turned = samples @ basis
    exact = torch.from_numpy(factors[f"values-{number}"]).double().flatten()
    off = float((turned.T @ turned / len(turned)).square().sum() - turned.square().mean(0).square().sum())
    exact_norm = float((samples.T @ samples / len(samples)).square().sum())
    ekfac = off + float((turned.square().mean(0) - exact).square().sum())
    diagonal = exact_norm - float(samples.square().mean(0).square().sum())
    assert ekfac < diagonal < exact_norm
    kronecker = torch.kron(*_kfac_values(model, layer, gradients, outputs, inputs))
    kfac = off + float((turned.square().mean(0) - kronecker).square().sum())
    assert ekfac < kfac


def _kfac_values(model, layer, gradients, outputs, inputs):
    """Eigenvalues of two factors scaled to the exact trace: of B from G G', of A from G' G of the samples."""
    matrices = layer.extract_matrix(gradients)
    b = (matrices @ matrices.transpose(1, 2)).mean(0)
    a = (matrices.transpose(1, 2) @ matrices).mean(0)
    values_b, values_a = torch.diag(outputs.T @ b @ outputs), torch.diag(inputs.T @ a @ inputs)
    return values_b, values_a / values_a.sum()


def test_it_solves_its_own_curvature(model: Model, factors: dict[str, np.ndarray], gradients: torch.Tensor) -> None:
    """(K + damping) solve(x) = x on the layers, and nothing elsewhere."""
    ekfac = Ekfac(find_linear_layers(model, GROUP), factors, damping=0.1)
    rows = gradients[:3].float()
    solved = ekfac.solve(rows)
    back = torch.zeros_like(rows)
    for number, layer in enumerate(ekfac.layers):
        outputs, inputs, values = (torch.from_numpy(factors[f"{n}-{number}"]) for n in ("outputs", "inputs", "values"))
        turned = outputs.T @ layer.extract_matrix(solved) @ inputs
        layer.insert_matrix(outputs @ (turned * (values + ekfac.damping)) @ inputs.T, back)
    covered = torch.zeros(rows.shape[1], dtype=torch.bool)
    for layer in ekfac.layers:
        covered[layer.weight] = True
        if layer.bias:
            covered[layer.bias] = True
    assert float((back[:, covered] - rows[:, covered]).norm() / rows[:, covered].norm()) <= 1e-4
    assert bool((solved[:, ~covered] == 0).all())
    mean = np.mean(np.concatenate([factors[f"values-{i}"].ravel() for i in range(len(ekfac.layers))]))
    assert ekfac.damping == pytest.approx(0.1 * mean, rel=1e-4)


def test_it_is_exact_where_inputs_and_output_gradients_are_independent() -> None:
    """Every input with every output gradient: the curvature then is the factors' product."""
    rng = np.random.default_rng(1)
    h, g = rng.standard_normal((5, 3)), rng.standard_normal((6, 4))
    samples = np.array([np.outer(gg, hh).ravel() for gg in g for hh in h])
    exact = samples.T @ samples / len(samples)
    a, b = h.T @ h / len(h), g.T @ g / len(g)
    inputs, outputs = np.linalg.eigh(a)[1], np.linalg.eigh(b)[1]
    values = np.square(outputs.T @ samples.reshape(-1, 4, 3) @ inputs).mean(0)

    class OneLayer:
        """Stands for a layer whose matrix is the whole vector."""

        @staticmethod
        def extract_matrix(flat: torch.Tensor) -> torch.Tensor:
            return flat.unflatten(-1, (4, 3))

        @staticmethod
        def insert_matrix(matrix: torch.Tensor, flat: torch.Tensor) -> None:
            flat[:] = matrix.flatten(-2)

    arrays = {"outputs-0": outputs, "inputs-0": inputs, "values-0": values}
    ekfac = Ekfac([OneLayer()], arrays, damping=0.3)
    x = torch.from_numpy(rng.standard_normal((2, 12)))
    wanted = np.linalg.solve(exact + 0.3 * np.trace(exact) / 12 * np.eye(12), x.numpy().T).T
    assert np.allclose(ekfac.solve(x).numpy(), wanted)


def test_sampled_labels_give_the_gauss_newton_matrix(model: Model, items: Items) -> None:
    """Trace of the curvature of each layer against J'J of the output, J by rows: the expectation over many labels."""
    settings = EkfacSettings(draws=40, tracks=1, labels="sampled", seed=SEED)
    factors = fit_ekfac(model, items[:1], "to_kv", settings)
    parameters, bank = model.parameters("to_kv"), NoiseBank(1, 40, 1, SEED)
    layers = find_linear_layers(model, "to_kv")
    wanted = np.zeros(len(layers))
    rng = np.random.default_rng(0)
    for cell in list(bank.cells())[::4]:
        t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
        predicted = model.predict(items.latents[0], model.condition(items[[0]]), t, eps)[0].flatten()
        rows = rng.permutation(predicted.numel())[:24].tolist()  # of J, a sample of outputs
        for row in rows:
            gradient = differentiate(predicted[row], parameters, keep_graph=True)
            for number, layer in enumerate(layers):
                square = layer.extract_matrix(gradient).double().square().sum()
                wanted[number] += 2 * float(square) / (10 * len(rows))  # 2 / (C F) x C F / rows
    found = [float(factors[f"values-{number}"].sum()) for number in range(len(layers))]
    assert found == pytest.approx(wanted.tolist(), rel=0.25)


def test_curvature_is_fitted_over_the_times_of_the_scores(model: Model, items: Items) -> None:
    """With t_low the draws are those of a loop over a bank of the same t_low, for both kinds of labels."""
    for labels in ("observed", "sampled"):
        settings = EkfacSettings(draws=DRAWS, labels=labels, seed=SEED)
        whole, upper = (fit_ekfac(model, items[:2], "to_kv", settings, low) for low in (0.0, 0.5))
        assert not np.allclose(whole["values-0"], upper["values-0"])
    settings = EkfacSettings(draws=DRAWS, labels="observed", seed=SEED)
    factors, parameters = fit_ekfac(model, items[:2], "to_kv", settings, 0.5), model.parameters("to_kv")
    squares = torch.zeros(count_parameters(parameters), dtype=torch.float64)
    for row in range(2):
        for cell in (bank := NoiseBank(1, DRAWS, 1, SEED, low=0.5)).cells():
            t, eps = bank.cell(*cell, (model.latent_channels, model.frames))
            assert float(t) >= 0.5
            loss = model.loss(items.latents[row], model.condition(items[[row]]), t, eps)
            squares += differentiate(loss, parameters).double().square() / (2 * DRAWS)
    for number, layer in enumerate(find_linear_layers(model, "to_kv")):
        assert factors[f"values-{number}"].sum() == pytest.approx(float(layer.extract_matrix(squares).sum()), rel=1e-4)
