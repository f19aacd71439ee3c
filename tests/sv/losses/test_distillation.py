"""The loss against a teacher's embeddings, which any head adds to its own."""

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from sv.losses import build_head
from sv.losses.distillation import Distillation

EMBEDDING = torch.tensor([[3.0, 0, 4], [0, 2, 0]])
TARGET = torch.tensor([[6.0, 0, 0], [0, -1, 0]])  # cosines 0.6 and -1


def test_losses_are_the_weighted_distance_to_the_teachers_direction():
    distillation = Distillation(3, 3, 0.5)
    assert not list(distillation.parameters())
    assert distillation(EMBEDDING, TARGET).tolist() == pytest.approx([0.2, 1.0])
    assert distillation(EMBEDDING * 7, TARGET / 3).tolist() == pytest.approx([0.2, 1.0])


def test_another_dimension_is_mapped_and_the_gradient_is_that_of_the_definition():
    torch.manual_seed(0)
    distillation = Distillation(3, 2, 2.0).double()
    embedding = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    target = torch.randn(4, 2, dtype=torch.float64)
    distillation(embedding, target).sum().backward()
    slow = embedding.detach().clone().requires_grad_()
    total = 0.0
    for e, t in zip(slow, target, strict=True):
        p = torch.stack([(row * e).sum() for row in distillation.project.weight])
        total = total + 2 * (1 - (p * t).sum() / (p.square().sum().sqrt() * t.square().sum().sqrt()))
    total.backward()
    assert torch.allclose(embedding.grad, slow.grad)
    assert distillation.project.weight.shape == (2, 3)


def test_the_map_does_no_work_that_the_embedding_lacks():
    torch.manual_seed(0)
    up, down = Distillation(3, 5, 1.0).double(), Distillation(5, 3, 1.0).double()
    for distillation in (up, down):
        optimizer = torch.optim.SGD(distillation.parameters(), lr=1.0)
        shape = distillation.project.weight.shape
        before = distillation.project.weight.detach().clone()
        distillation(torch.randn(8, shape[1], dtype=torch.float64), torch.randn(8, shape[0]).double()).sum().backward()
        optimizer.step()
        assert not torch.allclose(distillation.project.weight, before)
    eye = torch.eye(3, dtype=torch.float64)
    assert torch.allclose(up.project.weight.T @ up.project.weight, eye, atol=1e-6)  # the base was float32
    assert torch.allclose(down.project.weight @ down.project.weight.T, eye, atol=1e-6)
    one, other = torch.randn(2, 4, 3, dtype=torch.float64)
    mapped = cosine_similarity(up.project(one), up.project(other))
    assert torch.allclose(mapped, cosine_similarity(one, other), atol=1e-6)


@pytest.mark.parametrize("loss", ["sphereface2", "aam", "ge2e"])
def test_a_head_adds_distillation_to_its_own_loss_and_answers_as_without(loss):
    torch.manual_seed(1)
    head = build_head(loss, 3, 2, {}).double()
    embedding, speaker = torch.randn(4, 3, dtype=torch.float64, requires_grad=True), torch.tensor([0, 0, 1, 1])
    target, margin = torch.randn(4, 3), head.margins.default
    alone = head(embedding, speaker, margin)
    head.distillation = Distillation(3, 3, 0.25)
    both = head(embedding, speaker, margin, None, target)
    distance = 1 - (normalize(embedding.detach()) * normalize(target.double())).sum(dim=1)
    assert torch.allclose(both.losses, alone.losses + 0.25 * distance)
    assert torch.allclose(both.loss, alone.loss + 0.25 * distance.mean())
    assert both.correct.equal(alone.correct)
    (of_both,) = torch.autograd.grad(both.loss, embedding, retain_graph=True)
    (of_alone,) = torch.autograd.grad(alone.loss, embedding, retain_graph=True)
    (of_distillation,) = torch.autograd.grad(head.distillation(embedding, target.double()).mean(), embedding)
    assert torch.allclose(of_both, of_alone + of_distillation)
