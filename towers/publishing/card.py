"""The model card of an export, from the measured figures of its manifest."""

from typing import Any

SHOWN = ("recall@20", "recall@20/familiar", "recall@20/discovery", "ndcg@20/discovery", "ndcg@20/cold_among_cold")


def model_card(manifest: dict[str, Any]) -> str:
    """Markdown: what the vectors are, what they were made of, how good they are, what to know."""
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
        *_space(manifest["space"]),
        *_towers(manifest["towers"]),
        "",
        "## Quality",
        "",
        *_metrics(manifest["metrics"]),
        "",
        *_listen_chance(manifest["listen_chance"]),
        *_dimensions(manifest),
        "## Known limits",
        "",
        "- Listeners' vectors are as of `as_of`; `user_tower.onnx` brings them up to date.",
        "- A content that was never played stands where its sound and metadata put it.",
        "- Artists and playlists without events of their own are the normalised mean of their contents.",
        "",
    ]
    return "\n".join(lines)


def _space(space: dict[str, Any]) -> list[str]:
    if "earlier" not in space:
        return []
    earlier = space["earlier"]
    return [f"- Earlier version {earlier['version']}, space `{earlier['space_id']}`: {space['reason']} (drift.json)"]


def _towers(towers: dict[str, dict[str, Any]]) -> list[str]:
    lines = []
    for name, figures in towers.items():
        if "difference" in figures:
            lines.append(f"- {name}: at most {figures['difference']:.1e} from torch, on {figures['inputs']}")
        else:
            kept = "kept" if figures["file"] else "not kept"
            lines.append(f"- {name}: {figures['overlap@20']:.4f} of the nearest 20 as in float32; {kept}")
    return lines


def _metrics(metrics: dict[str, Any]) -> list[str]:
    if not metrics:
        return ["Not evaluated: run `towers evaluate` before `towers export`."]
    keys = [key for key in SHOWN if any(key in figures for figures in metrics.values())]
    rows = ["| | " + " | ".join(keys) + " |", "|---" * (len(keys) + 1) + "|"]
    for ranker, figures in metrics.items():
        cells = [f"{figures[key]:.4f}" if key in figures else "–" for key in keys]
        rows.append(f"| {ranker} | " + " | ".join(cells) + " |")
    return rows


def _listen_chance(facts: dict[str, Any]) -> list[str]:
    """How far the chances of a listen may be believed, or why there are none."""
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
    """What truncated vectors reach; empty with too few listeners for a figure."""
    recall = manifest["space"]["recall@20 by dimension"]
    if not recall:
        return []
    return [
        "## By dimension",
        "",
        "The leading dimensions, normalised, can be used by themselves.",
        "",
        "| " + " | ".join(["dimensions", *map(str, recall)]) + " |",
        "|---" * (len(recall) + 1) + "|",
        "| " + " | ".join(["recall@20", *(f"{figure:.4f}" for figure in recall.values())]) + " |",
        "",
    ]
