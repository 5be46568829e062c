"""Full names of the licences that cards name, by the ids that the Hugging Face Hub takes.

Names of SPDX ids: https://spdx.org/licenses/. The rest are the makers' own.
"""

_CREATIVE_COMMONS = {
    "by": "Attribution",
    "by-sa": "Attribution Share Alike",
    "by-nc": "Attribution Non Commercial",
    "by-nd": "Attribution No Derivatives",
    "by-nc-sa": "Attribution Non Commercial Share Alike",
    "by-nc-nd": "Attribution Non Commercial No Derivatives",
}
_NAMES = {
    "afl-3.0": "Academic Free License v3.0",
    "agpl-3.0": "GNU Affero General Public License v3.0",
    "apache-2.0": "Apache License 2.0",
    "apple-amlr": "Apple Machine Learning Research Model License",
    "artistic-2.0": "Artistic License 2.0",
    "bigcode-openrail-m": "BigCode Open RAIL-M v1",
    "bigscience-bloom-rail-1.0": "BigScience RAIL License v1.0",
    "bigscience-openrail-m": "BigScience OpenRAIL-M",
    "bsd-2-clause": 'BSD 2-Clause "Simplified" License',
    "bsd-3-clause": 'BSD 3-Clause "New" or "Revised" License',
    "bsd-3-clause-clear": "BSD 3-Clause Clear License",
    "bsl-1.0": "Boost Software License 1.0",
    "c-uda": "Computational Use of Data Agreement v1.0",
    "cc0-1.0": "Creative Commons Zero v1.0 Universal",
    "cdla-permissive-1.0": "Community Data License Agreement Permissive 1.0",
    "cdla-permissive-2.0": "Community Data License Agreement Permissive 2.0",
    "cdla-sharing-1.0": "Community Data License Agreement Sharing 1.0",
    "creativeml-openrail-m": "CreativeML OpenRAIL-M",
    "deepseek": "DeepSeek License Agreement",
    "ecl-2.0": "Educational Community License v2.0",
    "epl-2.0": "Eclipse Public License 2.0",
    "eupl-1.2": "European Union Public License 1.2",
    "gemma": "Gemma Terms of Use",
    "gfdl": "GNU Free Documentation License",
    "gpl-2.0": "GNU General Public License v2.0",
    "gpl-3.0": "GNU General Public License v3.0",
    "isc": "ISC License",
    "lgpl-2.1": "GNU Lesser General Public License v2.1",
    "lgpl-3.0": "GNU Lesser General Public License v3.0",
    "llama2": "Llama 2 Community License Agreement",
    "llama3": "Llama 3 Community License Agreement",
    "llama3.1": "Llama 3.1 Community License Agreement",
    "llama3.2": "Llama 3.2 Community License Agreement",
    "llama3.3": "Llama 3.3 Community License Agreement",
    "llama4": "Llama 4 Community License Agreement",
    "mit": "MIT License",
    "mpl-2.0": "Mozilla Public License 2.0",
    "ms-pl": "Microsoft Public License",
    "mulanpsl-2.0": "Mulan Permissive Software License v2",
    "odbl": "Open Data Commons Open Database License",
    "odc-by": "Open Data Commons Attribution License",
    "ofl-1.1": "SIL Open Font License 1.1",
    "openrail": "OpenRAIL",
    "openrail++": "Open RAIL++-M",
    "pddl": "Open Data Commons Public Domain Dedication & License",
    "unlicense": "The Unlicense",
    "wtfpl": "Do What The F*ck You Want To Public License",
    "zlib": "zlib License",
}
_CC_VERSIONS = {
    "2.0": "Generic",
    "2.5": "Generic",
    "3.0": "Unported",
    "4.0": "International",
}


def name_licence(licence: str) -> str:
    """Return a licence's full name; empty for one that is not known."""
    key = licence.lower()
    if key in _NAMES:
        return _NAMES[key]
    if not key.startswith("cc-"):
        return ""
    kind, _, version = key.removeprefix("cc-").rpartition("-")
    if kind not in _CREATIVE_COMMONS or version not in _CC_VERSIONS:
        return ""
    return f"Creative Commons {_CREATIVE_COMMONS[kind]} {version} {_CC_VERSIONS[version]}"
