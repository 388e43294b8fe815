"""Decoding steps that a CUDA graph can record, without a GPU: nothing but tensors decides what a step does.

A: rows of the step, H: query heads, N: places of the cache, K: key heads, D: head size.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.rollout.conftest import TEXT_CONFIG
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, Qwen2Config

from xreasoner.models.load import Loaded
from xreasoner.records import Prompt, Rollout, Sampling
from xreasoner.rollout.special_tokens import read_special_tokens
from xreasoner.rollout.torch_engine import decode_attention, decode_graphs
from xreasoner.rollout.torch_engine.cache import RowCache
from xreasoner.rollout.torch_engine.decode_attention import RowBlock
from xreasoner.rollout.torch_engine.decode_graphs import (
    CudaRecorder,
    DecodeGraphs,
    HostWaits,
    Work,
    rounded_rows,
)
from xreasoner.rollout.torch_engine.decode_step import DecodeStep
from xreasoner.rollout.torch_engine.engine import TorchEngine
from xreasoner.rollout.torch_engine.scheduler import Scheduler
from xreasoner.rollout.torch_engine.slot_tensors import SlotTensors

RANDOM = Sampling(n=3, temperature=0.8, think_budget=16, answer_budget=6, seed=11)
LONG = Sampling(n=2, temperature=1.0, think_budget=0, answer_budget=150, forced_exit=False, seed=1)


knows_gpus = pytest.mark.skipif(
    not torch.version.cuda,
    reason="torch without CUDA cannot make up a GPU's tensors; CI's oldest and newest can",
)


class Trace(TorchDispatchMode):
    """The operations of a piece of work, with the very tensors that they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, result))
        return result

    def replay(self) -> None:
        """Everything but the tensors' contents is as it was: no line of the work runs again."""
        for func, args, kwargs, result in self.calls:
            if func._schema.is_mutable:
                func(*args, **kwargs)
                continue
            inputs = {memory(one) for one in tensors_in((*args, *kwargs.values()))}
            again = tensors_in([func(*args, **kwargs)])
            for old, new in zip(tensors_in([result]), again, strict=True):
                if memory(old) not in inputs:
                    old.copy_(new)


def memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def tensors_in(values: Any) -> list[torch.Tensor]:
    found = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += tensors_in(value)
    return found


class TraceRecorder:
    """Does on a CPU what a CUDA graph does: repeats operations on fixed memory."""

    def __init__(self) -> None:
        self.scheduler: Scheduler | None = None
        self.warm_ups = self.records = self.replays = 0

    def warm_up(self, work: Work) -> None:
        self.warm_ups += 1
        work()

    def record(self, work: Work) -> Work:
        """On a GPU nothing is computed while it is recorded; here it is, and then undone."""
        self.records += 1
        state = [(tensor, tensor.clone()) for tensor in self._state(work)]
        with Trace() as trace:
            work()
        for tensor, before in state:
            tensor.copy_(before)

        def replay() -> None:
            self.replays += 1
            trace.replay()

        return replay

    def _state(self, work: Work) -> Iterator[torch.Tensor]:
        step = next(
            c.cell_contents for c in work.__closure__ or () if isinstance(c.cell_contents, DecodeGraphs)
        )
        yield from tensors_in(vars(step._step.tensors).values())
        for layer in step._step.cache.row_layers:
            yield from tensors_in([layer.keys, layer.values])


def answers(engine: TorchEngine, prompts: list[Prompt], sampling: Sampling) -> dict[Any, Rollout]:
    return {(one.prompt_id, one.sample): one for one in engine.generate(prompts, sampling)}


@pytest.mark.parametrize("sampling", [RANDOM, replace(RANDOM, temperature=0.0), LONG])
@pytest.mark.parametrize(("rows", "check_every"), [(5, 1), (13, 4)])
def test_recorded_steps_give_the_same_rollouts(
    vlm_loaded: Loaded, mixed_prompts: list[Prompt], sampling: Sampling, rows: int, check_every: int
) -> None:
    """Rows leave and come, exits are forced, tokens taken back, and with LONG the cache grows."""
    engine = TorchEngine(vlm_loaded, rows, check_every)
    expected = answers(engine, mixed_prompts, sampling)
    engine.recorder = recorder = TraceRecorder()
    found = answers(engine, mixed_prompts, sampling)
    assert recorder.records > 0 and recorder.replays > 2 * recorder.warm_ups
    assert found.keys() == expected.keys()
    for key, rollout in expected.items():
        assert replace(found[key], logprobs=()) == replace(rollout, logprobs=())
        assert found[key].logprobs == pytest.approx(rollout.logprobs, abs=2e-5)


def test_a_repeated_step_is_the_step_to_the_last_bit(text_loaded: Loaded, text_prompts: list[Prompt]) -> None:
    """Computed anew in the same shapes, or repeated on fixed memory."""
    engine = TorchEngine(text_loaded, 12, 4)
    engine.recorder = PlainRecorder()
    expected = answers(engine, text_prompts, LONG)
    engine.recorder = recorder = TraceRecorder()
    assert answers(engine, text_prompts, LONG) == expected
    assert recorder.replays > 50


def test_rows_of_several_temperatures_in_one_recorded_step(
    vlm_loaded: Loaded, mixed_prompts: list[Prompt]
) -> None:
    kinds = [replace(RANDOM, temperature=temperature) for temperature in (0.0, 0.7, 1.3)]
    pairs = [(prompt, kinds[i % 3]) for i, prompt in enumerate(mixed_prompts)]
    special = read_special_tokens(vlm_loaded.model, vlm_loaded.tokenizer)
    engine, recorder = TorchEngine(vlm_loaded, 12), TraceRecorder()
    scheduler = Scheduler(vlm_loaded, special, 12, 40, recorder=recorder)
    scheduler.add(engine._request(prompt, sampling) for prompt, sampling in pairs)
    found: dict[Any, tuple[int, ...]] = {}
    while scheduler.has_unfinished:
        found |= {(one.prompt_id, one.sample): one.token_ids for one in scheduler.step()}
    assert recorder.replays > recorder.warm_ups
    for prompt, sampling in pairs:
        for key, rollout in answers(engine, [prompt], sampling).items():
            assert found[key] == rollout.token_ids


@pytest.mark.parametrize(
    "waits",
    [
        lambda x: x.sum().item(),
        lambda x: float(x[0]),
        lambda x: "yes" if x[0] > 0 else "no",
        lambda x: x[x > 0],
        lambda x: x.index_put_((x > 0,), torch.zeros(1)),
        lambda x: x.nonzero(),
        lambda x: torch.where(x > 0),
        lambda x: x.masked_select(x > 0),
        lambda x: x.unique(),
        lambda x: torch.equal(x, x),
    ],
)
def test_what_the_host_waits_for_is_noticed(waits: Any) -> None:
    for inference in (True, False):
        with torch.inference_mode(inference), HostWaits() as found:
            waits(torch.tensor([1.0, -1.0]))
        assert found.found


@knows_gpus
def test_a_copy_between_host_and_gpu_is_noticed_and_others_are_not() -> None:
    with FakeTensorMode(), HostWaits() as waits:
        ones = torch.ones(3, device="cuda")
        (ones.half() @ ones.half()).clone()
        torch.where(ones > 0, ones, -ones)
        assert not waits.found
        ones.cpu()
    assert waits.found


def test_a_model_that_waits_for_the_gpu_is_not_recorded(
    text_loaded: Loaded, text_prompts: list[Prompt]
) -> None:
    engine = TorchEngine(text_loaded, 5)
    expected = answers(engine, text_prompts, RANDOM)
    engine.recorder = recorder = TraceRecorder()
    hook = text_loaded.model.lm_head.register_forward_pre_hook(
        lambda *call: print(end=f"{call[1][0].max()}"[:0])
    )
    found = answers(engine, text_prompts, RANDOM)
    hook.remove()
    assert (recorder.records, recorder.replays) == (0, 0) and recorder.warm_ups > 10
    assert {key: one.token_ids for key, one in found.items()} == {
        key: one.token_ids for key, one in expected.items()
    }


def test_rows_are_rounded_up_by_at_most_a_quarter() -> None:
    assert [rounded_rows(rows, 256) for rows in (1, 8, 9, 16, 33, 64, 65, 100, 129, 200, 256)] == [
        *(8, 8, 16, 16, 40, 64, 80, 112, 160, 224, 256)
    ]
    assert rounded_rows(65, 70) == 70
    assert rounded_rows(3, 5) == 5


class CountingStep:
    """Stands for a decoding step."""

    def __init__(self) -> None:
        self.cache = RowCache(1, 64, 10)
        self.tensors = SlotTensors(64, 4, torch.device("cpu"))
        self.done: list[tuple[int, int]] = []

    def __call__(self, rows: int, blocks: list[RowBlock], temperature_A: torch.Tensor) -> None:
        self.done.append((rows, blocks[0].span))


class PlainRecorder:
    def __init__(self) -> None:
        self.records = 0

    def warm_up(self, work: Work) -> None:
        work()

    def record(self, work: Work) -> Work:
        self.records += 1
        return work


def test_each_call_is_one_step_and_graphs_are_dropped_when_they_must(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_graphs, "MOST_GRAPHS", 2)
    step, recorder = CountingStep(), PlainRecorder()
    graphs = DecodeGraphs(step, recorder)  # type: ignore[arg-type]  # as much of a step as it takes
    for rows in (8, 8, 8, 16, 16, 24, 24):
        graphs(rows)
    assert [rows for rows, _ in step.done] == [8, 8, 8, 16, 16, 24, 24]
    assert recorder.records == 3
    graphs(16)  # kept
    assert recorder.records == 3
    graphs(8)  # the one not used for longest made room for 24's
    assert recorder.records == 4
    step.cache.reserve(40, 40)
    graphs(8)
    assert recorder.records == 5 and step.done[-1] == (8, 40)


def flash_in_python(
    query_AHD: torch.Tensor,
    key_NKD: torch.Tensor,
    value_NKD: torch.Tensor,
    query_bounds: torch.Tensor,
    key_bounds: torch.Tensor,
    lengths: torch.Tensor,
    span: int,
    window: int | None,
    scale: float,
) -> torch.Tensor:
    """What the kernel computes: a loop over rows and heads, each over its own keys."""
    assert query_bounds.tolist() == list(range(len(query_AHD) + 1))
    assert query_bounds.dtype == key_bounds.dtype == lengths.dtype == torch.int32
    group, out_AHD = query_AHD.shape[1] // key_NKD.shape[1], torch.empty_like(query_AHD)
    for row, length in enumerate(lengths.tolist()):
        assert 1 <= length <= span
        first = int(key_bounds[row])
        seen = slice(first + max(0, length - (window or length)), first + length)
        for head in range(query_AHD.shape[1]):
            key_SD, value_SD = key_NKD[seen, head // group], value_NKD[seen, head // group]
            weight_S = (key_SD @ query_AHD[row, head] * scale).softmax(0)
            out_AHD[row, head] = weight_S @ value_SD
    return out_AHD


def test_the_kernel_that_reads_each_rows_own_keys_gets_them(
    vlm_loaded: Loaded, mixed_prompts: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = answers(TorchEngine(vlm_loaded, 5), mixed_prompts, RANDOM)
    monkeypatch.setattr(decode_attention, "has_flash", lambda *states: True)
    monkeypatch.setattr(decode_attention, "flash_kernel", flash_in_python)
    found = answers(TorchEngine(vlm_loaded, 5), mixed_prompts, RANDOM)
    for key, rollout in expected.items():
        assert found[key].token_ids == rollout.token_ids
        assert found[key].logprobs == pytest.approx(rollout.logprobs, abs=1e-4)


@pytest.mark.parametrize("window", [None, 4])
def test_the_kernels_window_is_that_of_the_mask(window: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    query, keys, values = torch.randn(3, 2, 2, 8), torch.randn(5, 2, 12, 8), torch.randn(5, 2, 12, 8)
    rows = decode_attention.DecodeRows(torch.tensor([9, 0, 5]), [RowBlock(slice(0, 3), 10)])
    plain = decode_attention.AttentionSoftmax(None, None)
    states = (query, keys[:3, :, :10], values[:3, :, :10], rows, window, 0.3, plain)
    expected = decode_attention.decode_attention(*states)
    monkeypatch.setattr(decode_attention, "has_flash", lambda *states: True)
    monkeypatch.setattr(decode_attention, "flash_kernel", flash_in_python)
    torch.testing.assert_close(decode_attention.decode_attention(*states), expected)


@knows_gpus
def test_a_step_on_a_gpu_that_is_made_up() -> None:
    """Tensors without contents, that say they are on one: shapes, types, devices, and no wait of the host."""
    config = Qwen2Config(vocab_size=64, bos_token_id=None, eos_token_id=1, **TEXT_CONFIG)
    with FakeTensorMode(), torch.device("cuda"), torch.no_grad():
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval()
        assert decode_attention.has_flash(*[model.lm_head.weight[None, None]] * 2)
        tensors = SlotTensors(16, 20, torch.device("cuda"))
        step = DecodeStep(model, RowCache(2, 16, 12), tensors, [1, 2, 3], [4])
        with HostWaits() as waits:
            step(16, [RowBlock(slice(0, 16), 12)], tensors.temperature)
        assert step.cache.row_layers[0].keys.is_cuda and step.cache.row_layers[0].keys.dtype == torch.bfloat16
    assert not waits.found


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("window", [None, 4])
def test_the_kernel_on_a_gpu_computes_what_the_loop_does(window: int | None) -> None:
    """Rows of very different lengths, keys and values as they lie in a cache with more rows and columns."""
    torch.manual_seed(0)
    query, keys, values = (
        torch.randn(*shape, device="cuda", dtype=torch.bfloat16)
        for shape in ((3, 2, 2, 64), (5, 2, 400, 64), (5, 2, 400, 64))
    )
    rows = decode_attention.DecodeRows(
        torch.tensor([299, 0, 70], device="cuda"), [RowBlock(slice(0, 3), 300)]
    )
    arguments = (keys[:3, :, :300], values[:3, :, :300], rows, window, 0.3)
    found = decode_attention.by_lengths(query, *arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode_attention, "flash_kernel", flash_in_python)
        expected = decode_attention.by_lengths(query, *arguments)
    torch.testing.assert_close(found, expected, atol=2e-2, rtol=2e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_graphs_on_a_gpu_give_the_same_rollouts(vlm_loaded: Loaded, mixed_prompts: list[Prompt]) -> None:
    """In float32, so that no two tokens are near a tie; the cache grows, rows leave and come."""
    on_gpu = replace(vlm_loaded, model=copy.deepcopy(vlm_loaded.model).cuda())
    engine = TorchEngine(on_gpu, 13)
    for sampling in (RANDOM, LONG):
        engine.recorder = CudaRecorder()
        found = answers(engine, mixed_prompts, sampling)
        engine.recorder = None
        expected = answers(engine, mixed_prompts, sampling)
        assert {key: one.token_ids for key, one in found.items()} == {
            key: one.token_ids for key, one in expected.items()
        }
