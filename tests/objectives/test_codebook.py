"""A codebook follows what it is given, and a planted collapse does not last."""

import torch
import torch.nn.functional as F

from biosig_cli.engine import distributed
from biosig_cli.objectives.codebook import N_IDLE, Codebook
from tests.engine.small import start_together


def directions(n, width=8, seed=0):
    return F.normalize(torch.randn(n, width, generator=torch.manual_seed(seed)), dim=1)


def test_the_nearest_code_by_direction_is_given():
    book = Codebook(16, 8, 0.99).eval()
    vectors = directions(40).view(2, 20, 8)
    codes = book(vectors)
    distance = torch.cdist(vectors.flatten(0, 1), book.vectors).argmin(dim=1)
    assert torch.equal(codes.flatten(), distance)
    assert codes.shape == (2, 20)


def test_codes_move_to_the_mean_of_what_they_are_given():
    book = Codebook(2, 2, 0.9)
    book.vectors.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    given = F.normalize(torch.tensor([[1.0, 0.5], [1.0, 0.1]]), dim=1)
    assert book(given).tolist() == [0, 0]
    book.follow()
    mean = F.normalize(given.sum(dim=0), dim=0)
    expected = F.normalize(0.9 * torch.tensor([1.0, 0.0]) + 0.1 * mean, dim=0)
    torch.testing.assert_close(book.vectors[0], expected)
    assert book.vectors[1].tolist() == [-1.0, 0.0]  # nothing was given to it
    torch.testing.assert_close(book.counts, torch.tensor([0.2, 0.0]))
    assert not book.given.any()


def test_a_step_in_two_parts_is_a_step():
    whole, parts = Codebook(8, 8, 0.9), Codebook(8, 8, 0.9)
    parts.load_state_dict(whole.state_dict())
    vectors = directions(20)
    whole(vectors), parts(vectors[:7]), parts(vectors[7:])
    whole.follow(), parts.follow()
    torch.testing.assert_close(whole.vectors, parts.vectors)


def test_looking_changes_nothing():
    book = Codebook(8, 8, 0.9).eval()
    before = {name: value.clone() for name, value in book.state_dict().items()}
    book(directions(20))
    assert not book.given.any()
    assert all(torch.equal(value, before[name]) for name, value in book.state_dict().items())


def test_a_collapse_is_seen_and_does_not_last():
    book = Codebook(32, 8, 0.99)
    # All codes but one lie where nothing ever is.
    book.vectors.copy_(-directions(1, seed=3).expand(32, 8))
    book.vectors[0] *= -1
    vectors = directions(200)
    vectors = torch.where((vectors @ book.vectors[0] < 0)[:, None], -vectors, vectors)
    course = []
    for _ in range(N_IDLE + 5):
        book(vectors)
        book.follow()
        course.append((float(book.in_use), float(book.perplexity)))
    assert course[0][0] == 1 / 32
    assert course[N_IDLE - 3][0] == 1 / 32
    assert course[N_IDLE - 3][1] < 1.01
    assert course[-1][0] > 0.9
    for _ in range(100):
        book(vectors)
        book.follow()
    assert float(book.perplexity) > 10
    torch.testing.assert_close(book.vectors.norm(dim=1), torch.ones(32))


def test_codes_begin_at_what_there_is():
    book = Codebook(4, 8, 0.99)
    vectors = directions(9)
    book.begin(vectors)
    assert torch.equal(book.vectors, vectors[[0, 2, 4, 6]])
    many = Codebook(12, 8, 0.99)
    many.begin(vectors)
    assert {tuple(row.tolist()) for row in many.vectors} == {tuple(v.tolist()) for v in vectors}


def made_of(steps, start=None):
    """Return a codebook that was given this process's share of each step's vectors."""
    torch.manual_seed(0)
    book = Codebook(8, 8, 0.9)
    book.load_state_dict(start or book.state_dict())
    for step in steps:
        # Most codes are far from everything, and are moved.
        vectors = directions(24, seed=step).abs()
        book(distributed.share(vectors))
        book.follow()
    return book


def write_share(folder):
    book = made_of(range(5))
    if distributed.is_first():
        torch.save(book.state_dict(), folder / "codebook.pt")


def test_processes_hold_the_same_codes_as_one_alone(tmp_path):
    processes = start_together(2, write_share, tmp_path)
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    together = torch.load(tmp_path / "codebook.pt", weights_only=True)
    for name, alone in made_of(range(5)).state_dict().items():
        torch.testing.assert_close(together[name], alone)


def test_it_goes_on_from_what_a_checkpoint_holds():
    whole = made_of(range(50))
    resumed = made_of(range(30, 50), start=made_of(range(30)).state_dict())
    assert int(whole.idle.max()) < N_IDLE
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value)
