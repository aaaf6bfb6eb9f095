"""Log-probabilities of responses: the fast shared-prompt forward, and the plain one that it must equal.

Axis suffixes as in `repro.policy.decoder`; M = response tokens laid end to end, the only places a logit is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from repro.policy.decoder import Decoder, Layer, attend, final_hidden, finish_layer, qkv, rotary

CHUNK_LOGITS = 1 << 24  # at most this many logits at once (64 MiB in fp32); recomputed in the backward pass


@dataclass(frozen=True)
class Layout:
    """Where every token of a batch of groups lies, without padding: prompts first, then responses."""

    token_N: Tensor
    position_N: Tensor
    prompts: int  # how many of the N tokens belong to prompts
    slot_PR: Tensor  # index into the prompt tokens, right-aligned; `prompts` marks padding
    slot_BT: Tensor  # index into the response inputs, left-aligned; their number marks padding
    prompt_B: Tensor  # the prompt that each response continues
    prompt_slot: Tensor  # flat position in (P, R) of each prompt token
    response_slot: Tensor  # flat position in (B, T) of each response input token
    predictor_M: Tensor  # index into N of the token whose hidden state predicts each response token
    target_M: Tensor  # the response tokens
    place_M: Tensor  # flat position in (B, longest response) of each response token
    shape: tuple[int, int]  # (B, longest response)


def layout(
    prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], prompt_B: Sequence[int], device="cpu"
) -> Layout:
    """Lay out token ids: responses[b] continues prompts[prompt_B[b]]. A prompt must hold at least one token.

    A response's last token is predicted but never an input, so a response of m tokens costs m - 1 positions.
    """
    lengths_P = torch.tensor([len(p) for p in prompts])
    lengths_B = torch.tensor([len(r) for r in responses])
    prompt_B = torch.as_tensor(prompt_B)
    if lengths_P.min() < 1:
        raise ValueError("a prompt without tokens cannot be continued")
    inputs_B = (lengths_B - 1).clamp(min=0)
    R, T = int(lengths_P.max()), max(int(inputs_B.max()), 1)
    n_prompt, n_response = int(lengths_P.sum()), int(inputs_B.sum())

    start_P = lengths_P.cumsum(0) - lengths_P
    in_prompt = torch.arange(n_prompt) - start_P.repeat_interleave(lengths_P)
    row_P = torch.arange(len(prompts)).repeat_interleave(lengths_P)
    prompt_slot = row_P * R + (R - lengths_P[row_P]) + in_prompt
    slot_PR = torch.full((len(prompts) * R,), n_prompt).scatter_(0, prompt_slot, torch.arange(n_prompt))

    start_B = inputs_B.cumsum(0) - inputs_B
    row_B = torch.arange(len(responses)).repeat_interleave(inputs_B)
    in_response = torch.arange(n_response) - start_B.repeat_interleave(inputs_B)
    response_slot = row_B * T + in_response
    slot_BT = torch.full((len(responses) * T,), n_response).scatter_(0, response_slot, torch.arange(n_response))

    width = max(int(lengths_B.max()), 1)
    row_M = torch.arange(len(responses)).repeat_interleave(lengths_B)
    in_M = torch.arange(int(lengths_B.sum())) - (lengths_B.cumsum(0) - lengths_B).repeat_interleave(lengths_B)
    last_of_prompt = (start_P + lengths_P - 1)[prompt_B[row_M]]
    predictor_M = torch.where(in_M == 0, last_of_prompt, n_prompt + start_B[row_M] + in_M - 1)

    tokens = [t for p in prompts for t in p] + [t for r in responses for t in r[:-1]]
    positions = torch.cat((in_prompt, lengths_P[prompt_B[row_B]] + in_response))
    return Layout(
        token_N=torch.tensor(tokens).to(device),
        position_N=positions.to(device),
        prompts=n_prompt,
        slot_PR=slot_PR.view(-1, R).to(device),
        slot_BT=slot_BT.view(-1, T).to(device),
        prompt_B=prompt_B.to(device),
        prompt_slot=prompt_slot.to(device),
        response_slot=response_slot.to(device),
        predictor_M=predictor_M.to(device),
        target_M=torch.tensor([t for r in responses for t in r], dtype=torch.long).to(device),
        place_M=(row_M * width + in_M).to(device),
        shape=(len(responses), width),
    )


def _pad(x_N: Tensor, slot: Tensor) -> Tensor:
    """(n, ...) to (*slot, ...): gather tokens into their padded slots; a slot of n is padding and reads zeros."""
    return torch.cat((x_N, x_N.new_zeros(1, *x_N.shape[1:])))[slot]


def hidden_states(dec: Decoder, lay: Layout) -> Tensor:
    """Hidden states (M, D) that predict each response token; every prompt is computed once for its whole group."""
    device = lay.token_N.device
    cos, sin = rotary(dec, lay.position_N)
    x = F.embedding(lay.token_N, dec.embedding)
    R, T = lay.slot_PR.shape[1], lay.slot_BT.shape[1]
    real_PR = lay.slot_PR < lay.prompts
    causal_RR = torch.ones(R, R, dtype=torch.bool, device=device).tril()
    # A padded query sees itself, so that no softmax is empty; its output is never read.
    visible_prompt = (causal_RR & real_PR[:, None, :] | torch.eye(R, dtype=torch.bool, device=device))[:, None]
    causal_TT = torch.ones(T, T, dtype=torch.bool, device=device).tril()
    B = len(lay.prompt_B)
    visible_response = torch.cat((real_PR[lay.prompt_B][:, None, :].expand(B, T, R), causal_TT.expand(B, T, T)), 2)[
        :, None
    ]

    def block(layer: Layer, x: Tensor) -> Tensor:
        q, k, v = qkv(dec, layer, x, cos, sin)
        k_PR, v_PR = _pad(k[: lay.prompts], lay.slot_PR), _pad(v[: lay.prompts], lay.slot_PR)
        from_prompts = attend(dec, _pad(q[: lay.prompts], lay.slot_PR), k_PR, v_PR, visible_prompt)
        k_BS = torch.cat((k_PR[lay.prompt_B], _pad(k[lay.prompts :], lay.slot_BT)), 1)
        v_BS = torch.cat((v_PR[lay.prompt_B], _pad(v[lay.prompts :], lay.slot_BT)), 1)
        from_responses = attend(dec, _pad(q[lay.prompts :], lay.slot_BT), k_BS, v_BS, visible_response)
        attended = torch.cat(
            (from_prompts.flatten(0, 1)[lay.prompt_slot], from_responses.flatten(0, 1)[lay.response_slot])
        )
        return finish_layer(dec, layer, x, attended)

    for layer in dec.layers:
        if dec.recompute and torch.is_grad_enabled():
            x = checkpoint(block, layer, x, use_reentrant=False)
        else:
            x = block(layer, x)
    return final_hidden(dec, x[lay.predictor_M])


def token_logprobs(
    hidden_MD: Tensor, head_VD: Tensor, target_M: Tensor, temperature: float = 1.0, chunk_logits: int = CHUNK_LOGITS
) -> tuple[Tensor, Tensor]:
    """log-probability of each target (M,), with gradient, and the entropy of each distribution (M,), without.

    Logits are made in chunks and made again in the backward pass, so at most `chunk_logits` of them exist at a time.
    """

    def chunk_logprobs(hidden: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        # x / 1 is x, bit for bit, but a pass over all logits forward and another one backward.
        divided = (lambda logits: logits) if temperature == 1 else (lambda logits: logits / temperature)
        logp_V = F.log_softmax(divided(F.linear(hidden, head_VD).float()), -1)
        with torch.no_grad():
            entropy = -(logp_V.exp() * logp_V).sum(-1)
        return logp_V.gather(-1, target[:, None])[:, 0], entropy

    rows = max(1, chunk_logits // head_VD.shape[0])
    if len(target_M) <= rows:
        return chunk_logprobs(hidden_MD, target_M)
    parts = [
        checkpoint(chunk_logprobs, hidden, target, use_reentrant=False)
        for hidden, target in zip(hidden_MD.split(rows), target_M.split(rows), strict=True)
    ]
    return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])


def response_logprobs(
    dec: Decoder, lay: Layout, temperature: float = 1.0, chunk_logits: int = CHUNK_LOGITS
) -> tuple[Tensor, Tensor]:
    """(log-probabilities, entropies) of response tokens, each (B, longest response); padding reads 0."""
    logp_M, entropy_M = token_logprobs(hidden_states(dec, lay), dec.head, lay.target_M, temperature, chunk_logits)
    B, width = lay.shape

    def padded(value_M: Tensor) -> Tensor:
        return value_M.new_zeros(B * width).index_put((lay.place_M,), value_M).view(B, width)

    return padded(logp_M), padded(entropy_M)


def reference_logprobs(
    model: torch.nn.Module,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    prompt_B: Sequence[int],
    temperature: float = 1.0,
    pad: int = 0,
) -> Tensor:
    """The same by the model's own forward, every row with its own copy of the prompt, left-padded: slow and plain."""
    rows = [list(prompts[p]) + list(r) for p, r in zip(prompt_B, responses, strict=True)]
    width, longest = max(map(len, rows)), max(max(map(len, responses)), 1)
    device = next(model.parameters()).device
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    logits = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits.float() / temperature
    logp = torch.log_softmax(logits[:, :-1], -1).gather(-1, ids[:, 1:, None])[..., 0]
    out = logp.new_zeros(len(rows), longest)
    for b, response in enumerate(responses):
        if response:
            out = out.index_put((torch.tensor([b]), torch.arange(len(response))), logp[b, width - 1 - len(response) :])
    return out
