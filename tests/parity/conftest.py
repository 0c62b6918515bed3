# Runs in .venv-peers, whose libraries are not ours; pytest would import it to look for doctests.
collect_ignore = ["rectools_peer.py"]
