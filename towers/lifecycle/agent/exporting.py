"""Export of an agent's policy for serving: a folder of versions, each with all that a server needs.

```
policies/NAME/<digest>/policy.json, policy.npz, contents.npz   see `policies.agent.policy_file`
policies/NAME/<digest>/agent.json   its origin, and its evaluation
policies/NAME/current -> <digest>   swapped last
```
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from towers.errors import UserError
from towers.lifecycle.agent.evaluating import EVALUATION
from towers.lifecycle.agent.versions import CURRENT, AgentVersion
from towers.manifest import atomic_directory, point_to, read_json, write_json
from towers.policies.agent.policy_file import write_agent
from towers.retrieval.export import Export
from towers.simulation.listeners.space import Space

ABOUT: Final = "agent.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Result of an export.

    Args:
        folder: folder of the version.
        is_new: whether it was written now; else it existed before.
        missing: number of contents that the agent knows and the export does not.
    """

    folder: Path
    is_new: bool
    missing: int


def write_served(version: AgentVersion, space: Space, export: Export, out: Path) -> Written:
    """Writes a version of a policy, unless it exists, and lets `current` point to it.

    Args:
        version: version of the agent.
        space: contents that it was trained on.
        export: export that is served.
        out: folder of the policy, with its versions.

    Raises:
        UserError: the export is of another space.
    """
    if export.space_id != version.trained.space_id:
        raise UserError(
            f"export={export.folder}: is of space {export.space_id}, and {version.folder} of "
            f"{version.trained.space_id}; train an agent in this space"
        )
    missing = sum(content_id not in export.content_ids for content_id in space.content_ids)
    target = out / version.folder.name
    judged = version.folder / EVALUATION
    about = {"agent": str(version.folder), "export": export.version, **version.trained.to_json(),
             "evaluation": read_json(judged) if judged.exists() else None}  # fmt: skip
    is_new = not (target / ABOUT).exists()
    if is_new:
        with atomic_directory(target) as temporary:
            write_agent(
                temporary, version.policy(space), space_id=space.space_id, content_ids=space.content_ids,
                has_contents=True,
            )  # fmt: skip
            write_json(temporary / ABOUT, about)
    elif read_json(target / ABOUT) != about:
        # Evaluated since then, or exported for another version of the space.
        write_json(target / ABOUT, about)
    point_to(out / CURRENT, target)
    return Written(folder=target, is_new=is_new, missing=missing)
