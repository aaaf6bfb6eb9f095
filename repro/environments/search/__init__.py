"""Agentic search: multi-hop questions over generated knowledge bases, answered by searching, reading and answering.

The stand-in for open-domain question answering with a search tool (SMEPO's third domain, evaluated on Bamboogle). A
question names the last relation of a chain only, so the player must know which relation leads on from where it stands;
a page of results gives the next entity, so following a known route is easy. Where the whole chain is wanted in the
question, set `wording="explicit"`.

    config = SearchConfig()
    query = train_list(config, seed=0)[4]
    episode = SearchEpisode(config, query)
    episode.reset()                            # 'what is the river of the ship kutav ?'
    episode.step("search kutav captain")       # ('the captain of kutav is kusol .\\nthe builder ...', 0.0, False)
    episode.step("search kusol birthplace")    # ('the birthplace of kusol is bamar .\\nthe employer ...', 0.0, False)
    episode.step("search bamar river")         # ('the river of bamar is figim .\\nthe mayor ...', 0.0, False)
    episode.step("answer figim")               # ('', 1.0, True)
"""

from repro.environments.search.episode import Faults, SearchEpisode, State
from repro.environments.search.expert import Slips, Turn, demonstration, first_error, slipped
from repro.environments.search.knowledge import Fact, KnowledgeBase, Page, SearchConfig, knowledge_base
from repro.environments.search.questions import (
    Span,
    base_of,
    entity_spans,
    exact_match,
    generate,
    heldout,
    normalise,
    outcome,
    plant,
    stream,
    trace_of,
    train_list,
    vocabulary,
)

__all__ = [
    "Fact", "Faults", "KnowledgeBase", "Page", "SearchConfig", "SearchEpisode", "Slips", "Span", "State", "Turn",
    "base_of", "demonstration", "entity_spans", "exact_match", "first_error", "generate", "heldout", "knowledge_base",
    "normalise", "outcome", "plant", "slipped", "stream", "trace_of", "train_list", "vocabulary",
]  # fmt: skip
