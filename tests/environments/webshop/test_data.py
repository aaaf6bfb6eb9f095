"""The real files: found or named, read as a stream, indexed once, odd rows counted."""

import json
import os
from pathlib import Path

import pytest

from repro.environments.webshop import catalogue, data
from repro.environments.webshop.catalogue import CatalogueConfig
from repro.environments.webshop.data import DataConfig, Report, find_files, load, read_object, rows
from repro.environments.webshop.engine import ShopConfig, WebShop
from repro.errors import ReproError
from tests.environments.webshop import shelves


@pytest.fixture
def folder(tmp_path):
    catalogue.write(shelves.catalogue(), tmp_path)
    return tmp_path


def test_a_loaded_shop_is_the_one_in_memory(folder):
    loaded, report = load(DataConfig(str(folder)), ShopConfig(mode="text_rich"))
    assert report == Report(rows=4, products=4, duplicates=0, skipped=0, named=())
    memory = shelves.shop(mode="text_rich")
    assert list(loaded.products) == memory.products and loaded.goals == memory.goals
    assert loaded.products[-1] == memory.products[-1] and len(loaded.products) == 4
    with pytest.raises(IndexError):
        loaded.products[4]
    env = WebShop(loaded, loaded.goals[0])
    other = WebShop(memory, memory.goals[0])
    for action in (
        "search[lamp]",
        "click[b0lamp0001]",
        "click[red]",
        "click[features]",
        "click[< prev]",
        "click[buy now]",
    ):
        assert env.step(action) == other.step(action)


def test_the_released_codes_goals(folder):
    loaded, _ = load(DataConfig(str(folder), human_goals=False))
    assert loaded.goals == shelves.shop(human_goals=False).goals


def test_it_is_indexed_once(folder, monkeypatch):
    load(DataConfig(str(folder)))
    monkeypatch.setattr(data, "_build", lambda *_: pytest.fail("indexed again"))
    assert load(DataConfig(str(folder)))[0].hits("shoes") == (3,)


def test_other_settings_and_changed_files_are_indexed_anew(folder):
    load(DataConfig(str(folder)))
    load(DataConfig(str(folder), products=2))
    load(DataConfig(str(folder), seed=1))
    assert len(list(folder.glob("index-*"))) == 3
    path = folder / "items_shuffle_1000.json"
    path.write_text(json.dumps(shelves.ITEMS[:1]))
    os.utime(path, (1, 1))
    assert len(load(DataConfig(str(folder)))[0].products) == 1


def test_two_that_index_at_once_leave_one_index(folder, monkeypatch):
    """While one writes, another begins and ends: the first then finds its work done."""
    first, save = [], data.SearchIndex.save

    def slow(index, partial):
        save(index, partial)
        if not first:
            first.append(partial)
            assert load(DataConfig(str(folder)))[1].products == 4
            assert partial.is_dir()

    monkeypatch.setattr(data.SearchIndex, "save", slow)
    assert load(DataConfig(str(folder)))[1].products == 4
    assert [path.suffix for path in folder.glob("index-*")] == [""]


def test_an_index_that_lost_its_report_is_named(folder):
    load(DataConfig(str(folder)))
    (index,) = folder.glob("index-*")
    (index / "report.json").unlink()
    with pytest.raises(ReproError, match="is damaged: delete it, and the products are indexed again"):
        load(DataConfig(str(folder)))


def test_an_interrupted_indexing_is_begun_again(folder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(data.SearchIndex, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            load(DataConfig(str(folder)))
    assert list(folder.glob("index-*")) == []
    assert load(DataConfig(str(folder)))[1].products == 4
    assert [path.suffix for path in folder.glob("index-*")] == [""]


def test_the_index_can_live_elsewhere(folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    load(DataConfig(str(folder), cache=str(cache)))
    assert not list(folder.glob("index-*")) and len(list(cache.glob("index-*"))) == 1


def test_odd_rows_are_named_counted_and_left_out(tmp_path):
    stock = shelves.catalogue()
    items = [*stock.items, {"asin": "B0BAD00001"}, "text", shelves.row("B0LAMP0001", "Second of its name"),
             shelves.row("B0TOOLONG123", "x"), None]  # fmt: skip
    catalogue.write(catalogue.Catalogue(items, stock.attributes, stock.human), tmp_path)
    shop, report = load(DataConfig(str(tmp_path)))
    assert (report.rows, report.products, report.duplicates, report.skipped) == (9, 4, 1, 4)
    assert report.named[0].startswith("row 4 has no text under 'name'")
    assert report.named[1] == "row 5 is str, not an object"
    assert "row 7 has the identifier 'B0TOOLONG123'" in report.named[2]
    assert shop.products[0].title == "Brass Desk Lamp"  # the first of an identifier stays


def test_a_file_without_any_product_is_refused(tmp_path):
    catalogue.write(catalogue.Catalogue([{}], {}, {}), tmp_path)
    with pytest.raises(ReproError, match="no row of .*items_shuffle_1000.json describes a product. First: row 0 has"):
        load(DataConfig(str(tmp_path)))


def test_attributes_of_a_product_that_the_file_does_not_know(folder):
    loaded, _ = load(DataConfig(str(folder)))
    assert loaded.products[2].attributes == ("DUMMY_ATTR",)
    assert loaded.products[1].attributes == ()  # known to have none


def test_absent_files_are_named_with_their_source(tmp_path):
    with pytest.raises(ReproError) as error:
        find_files(DataConfig(str(tmp_path)))
    for part in (
        "items_shuffle_1000.json or items_shuffle.json",
        "items_human_ins.json",
        "princeton-nlp/WebShop",
        "setup.sh",
    ):
        assert part in str(error.value)
    with pytest.raises(ReproError) as error:
        find_files(DataConfig(str(tmp_path), products=None, human_goals=False))
    assert "no items_shuffle.json, no items_ins_v2.json" in str(error.value) and "human" not in str(error.value)


def test_the_full_files_serve_where_the_small_ones_are_absent_or_too_few(tmp_path):
    catalogue.write(shelves.catalogue(), tmp_path, small=False)
    assert find_files(DataConfig(str(tmp_path)))["products"].name == "items_shuffle.json"
    catalogue.write(shelves.catalogue(), tmp_path)
    assert find_files(DataConfig(str(tmp_path)))["products"].name == "items_shuffle_1000.json"
    assert find_files(DataConfig(str(tmp_path), products=5000))["products"].name == "items_shuffle.json"
    assert len(load(DataConfig(str(tmp_path), products=None))[0].products) == 4


def test_rows_come_as_a_stream_whatever_the_size_of_the_reads(tmp_path, monkeypatch):
    items = [{"name": 'tricky ]}," \\ é ★' * 5, "n": n} for n in range(40)] + ["text", [1, [2]], {}]
    path = Path(tmp_path / "items.json")
    for indent in (None, 2):
        path.write_text(" \n" + json.dumps(items, indent=indent, ensure_ascii=indent is None) + "\n", "utf-8")
        for chunk in (7, 64, 1 << 20):
            monkeypatch.setattr(data, "_CHUNK", chunk)
            assert list(rows(path)) == items
            assert list(rows(path, 3)) == items[:3]
    path.write_text("[]")
    assert list(rows(path)) == []


def test_damaged_files_are_refused_by_name_and_row(tmp_path, monkeypatch):
    path = tmp_path / "items.json"
    for content, message in [
        ('[{"a": 1}, {"b": ', "cut off or damaged at row 1"),
        ('[{"a": 1}, {"b": 2}', "cut off or damaged at row 1"),
        ('[{"a": 1}, {oops}, {"b": 2}]', "cut off or damaged at row 1"),
        ('{"a": 1}', "not with a list of products"),
        ("", "not with a list of products"),
    ]:
        path.write_text(content)
        with pytest.raises(ReproError, match=message):
            list(rows(path))
    monkeypatch.setattr(data, "_LONGEST_ROW", 10)
    monkeypatch.setattr(data, "_CHUNK", 8)
    path.write_text('["' + "x" * 100 + '"]')
    with pytest.raises(ReproError, match="row 0"):
        list(rows(path))
    path.write_text("[1]")
    with pytest.raises(ReproError, match="holds list, not an object"):
        read_object(path)
    path.write_text("{")
    with pytest.raises(ReproError, match="no JSON file"):
        read_object(path)


def test_a_generated_catalogue_survives_the_files(tmp_path):
    stock = catalogue.generate(CatalogueConfig(products=40, seed=5))
    catalogue.write(stock, tmp_path)
    loaded, report = load(DataConfig(str(tmp_path)))
    assert report.skipped == report.duplicates == 0
    memory = catalogue.open_shop(stock)
    assert list(loaded.products) == memory.products and loaded.goals == memory.goals
    for goal in memory.goals[:10]:
        assert loaded.hits(goal.instruction) == memory.hits(goal.instruction)
