"""make audit: pip-audit over what is installed, and plainly said where it could not ask.

pip-audit ends well where the package index knows nothing of a package's holes: then nothing was
checked, and this ends with status 1.
"""

import json
import subprocess
import sys


def main() -> int:
    """Print what is known; 0 where every package was asked for, and has no known hole."""
    command = [sys.executable, "-m", "pip_audit", "--skip-editable", "--format", "json"]
    done = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"pip-audit could not run: {done.stderr.strip().splitlines()[-1:]}")
        return 1
    skipped = [each["name"] for each in packages if "skip_reason" in each]
    holes = [(each, hole) for each in packages for hole in each.get("vulns", [])]
    for each, hole in holes:
        fixed = ", ".join(hole.get("fix_versions", [])) or "none"
        print(f"{each['name']} {each['version']}: {hole['id']}, fixed in {fixed}")
    print(f"{len(packages) - len(skipped)} packages asked for, {len(holes)} known holes")
    if skipped:
        print(f"{len(skipped)} packages could not be asked for: the index gives no list of holes")
    return 1 if holes or skipped else 0


if __name__ == "__main__":
    sys.exit(main())
