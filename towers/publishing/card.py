"""The model card of an export, from the measured figures of its manifest."""

from collections.abc import Sequence
from typing import Any

SHOWN = ("recall@20", "recall@20/familiar", "recall@20/discovery", "ndcg@20/discovery", "ndcg@20/cold_among_cold")


def model_card(manifest: dict[str, Any]) -> str:
    """Returns Markdown: what the vectors are, what they were made from, how good they are, and their limits."""
    counts, window = manifest["counts"], manifest["window"]
    span = f"{window['start']} to {window['end']} (UTC)" if window else "the data has no clock"
    lines = [
        f"# Export {manifest['version']}",
        "",
        f"Space `{manifest['space_id']}`: {manifest['dim']} dimensions, {manifest['metric']}, {manifest['dtype']}.",
        "Compare vectors only where the space is the same.",
        "",
        f"- Data window: {span}, fingerprint `{manifest['data_fingerprint']}`",
        "- " + ", ".join(f"{count:,} {name}" for name, count in counts.items()),
        f"- The index finds {manifest['index_recall@10']:.4f} of the exact nearest 10",
        *_space(manifest),
        *_towers(manifest["towers"]),
        "",
        "## Quality",
        "",
        *_metrics(manifest),
        "",
        *_listen_chance(manifest["listen_chance"]),
        *_dimensions(manifest),
        *_codes(manifest["codes"]),
        *_regions(manifest["derived"]["regions"]),
        "## Known limits",
        "",
        "- Listeners' vectors are as of `as_of`; `user_tower.onnx` brings them up to date.",
        "- The vector of a content that was never played is made from its sound and metadata alone.",
        "- Artists and playlists without events of their own are the normalised mean of their contents.",
        "",
    ]
    return "\n".join(lines)


def _space(manifest: dict[str, Any]) -> list[str]:
    """Returns lines on the earlier version's space, and what users of its vectors have to do."""
    space = manifest["space"]
    if "earlier" not in space:
        return []
    earlier = space["earlier"]
    told = f"- Earlier version {earlier['version']}, space `{earlier['space_id']}`: {space['reason']} (drift.json)"
    if earlier["space_id"] == manifest["space_id"]:
        return [f"{told}; its vectors fit"]
    return [f"{told}. **Its vectors do not fit**: replace those of contents and listeners together"]


def _towers(towers: dict[str, dict[str, Any]]) -> list[str]:
    lines = []
    for name, figures in towers.items():
        if "difference" in figures:
            lines.append(f"- {name}: at most {figures['difference']:.1e} from torch, on {figures['inputs']}")
        else:
            kept = "kept" if figures["file"] else "not kept"
            lines.append(f"- {name}: {figures['overlap@20']:.4f} of the nearest 20 as in float32; {kept}")
    return lines


def _metrics(manifest: dict[str, Any]) -> list[str]:
    metrics = manifest["metrics"]
    if manifest["as_of_us"] is not None:
        return [f"Made as of {manifest['window']['end']}: no events, playlists or figures from then on."]
    if not metrics:
        return ["Not evaluated: run `towers evaluate` before `towers export`."]
    keys = [key for key in SHOWN if any(key in figures for figures in metrics.values())]
    rows = ["| | " + " | ".join(keys) + " |", "|---" * (len(keys) + 1) + "|"]
    for ranker, figures in metrics.items():
        cells = [f"{figures[key]:.4f}" if key in figures else "–" for key in keys]
        rows.append(f"| {ranker} | " + " | ".join(cells) + " |")
    return rows


def _listen_chance(facts: dict[str, Any]) -> list[str]:
    """Returns lines on the calibration of the probability of a listen, or why there is no model of it."""
    if "reason" in facts:
        return ["## Chance of a listen", "", f"There is no model of it: {facts['reason']}.", ""]
    ((unit, length),) = facts["window"].items()
    lines = [
        "## Chance of a listen",
        "",
        "`listen_chance.json` puts what a listener knows and what is new to them on one scale: the chance of a",
        f"positive event within {length:g} {unit}. Held against what came to {facts['held_out_listeners']:,} listeners",
        "that the fit has not seen:",
        "",
        "| contents | pairs | mean chance | share that came | calibration error |",
        "|---|---|---|---|---|",
    ]
    names = {"all": "all", "heard": "chosen before", "new": "others"}
    for name, found in facts["reliability"].items():
        if found:
            figures = f"{found['expected']:.5f} | {found['observed']:.5f} | {found['calibration_error']:.1%}"
            lines.append(f"| {names[name]} | {found['pairs']:,.0f} | {figures} |")
    return [*lines, ""]


def _dimensions(manifest: dict[str, Any]) -> list[str]:
    """Returns lines on the recall of truncated vectors; empty with too few listeners for a figure."""
    recall, kept = (manifest["space"][f"{name} by dimension"] for name in ("recall@20", "share of the nearest 20"))
    dims = sorted(recall | kept)
    if not dims:
        return []
    whole, dim = manifest["model_dim"], manifest["dim"]
    told = (
        ""
        if dim == whole
        else f" The export has {dim} of the model's {whole}; the figures under Quality are for all of them."
    )
    return [
        "## By dimension",
        "",
        "The leading dimensions, normalised, can be used by themselves: the vectors are on principal axes. Measured on"
        f" listeners that these are not fitted on; kept is of the nearest 20 by all {whole} dimensions.{told}",
        "",
        "| " + " | ".join(["dimensions", *map(str, dims)]) + " |",
        "|---" * (len(dims) + 1) + "|",
        _row("recall@20", [recall.get(each) for each in dims]),
        _row("kept", [kept.get(each) for each in dims]),
        "",
    ]


def _codes(codes: dict[str, dict[str, int | float]]) -> list[str]:
    """Returns lines on what compressed codes of the vectors find; empty without listeners."""
    if not codes:
        return []
    return [
        "## In fewer bits",
        "",
        "What codes of the vectors find of listeners' exact nearest 20 contents, where the best by their codes are"
        " ranked anew by float32. One bit is the sign of a dimension after a turn at random (FAISS `IndexLSH` with"
        " `rotate_data`), of listeners as of contents; signs of the dimensions as they stand find little.",
        "",
        "| | bytes a vector | 100,000,000 vectors | ranked anew | found of the nearest 20 |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {code['bytes']} | {code['gigabytes']:.1f} GB | {code.get('candidates', '–')} |"
            f" {code.get('recall@20', 1.0):.4f} |"
            for name, code in codes.items()
        ),
        "",
    ]


def _regions(names: dict[str, str]) -> list[str]:
    """Returns the names of the regions, by ids that later versions keep."""
    return ["## Regions", "", *(f"- {region}: {name}" for region, name in names.items()), ""]


def _row(name: str, figures: Sequence[float | None]) -> str:
    return "| " + " | ".join([name, *("–" if figure is None else f"{figure:.4f}" for figure in figures)]) + " |"
