// What a node cannot limit of its disk, in one sentence each with its mend. Its words are here and not in the
// catalogue, which every first screen fetches.

import type { Language, Node } from "../../api/shapes";

const WORDS: Record<Language, Record<string, string>> = {
  en: {
    layer:
      "One machine can fill Docker's disk for all others here by what it installs: keep Docker's data on btrfs, ZFS, or XFS mounted with prjquota.",
    scratch:
      "One machine can fill this node's disk by its /scratch: install e2fsprogs, which has mkfs.ext4, and start the node again.",
  },
  zh: {
    layer:
      "这里的一台开发机安装软件就可能占满所有开发机共用的 Docker 磁盘：请把 Docker 的数据放在 btrfs、ZFS，或以 prjquota 挂载的 XFS 上。",
    scratch:
      "这里的一台开发机可能用 /scratch 占满节点的磁盘：请安装提供 mkfs.ext4 的 e2fsprogs，再重启节点程序。",
  },
};

/** Nothing of a node that answers no more: what it said may be mended. */
export function sayUnlimited(engine: Node["engine"], language: Language): string[] {
  if (!engine?.is_fresh) return [];
  return engine.unlimited.flatMap((what) => WORDS[language][what] ?? []);
}
