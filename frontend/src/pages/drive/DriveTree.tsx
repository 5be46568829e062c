// The folders of the drive as a tree; each level is read when it is opened.

import { Tree, type TreeDataNode } from "antd";
import { useQueries } from "@tanstack/react-query";
import { useState } from "react";
import { driveQueries } from "../../api/driveQueries";
import type { DriveTree as Level } from "../../api/shapes";
import { useWords } from "../../i18n";
import { FolderOutlined } from "../../widgets/icons";

const ROOT = "/"; // a key of the kit may not be empty

interface Props {
  path: string;
  onOpen: (path: string) => void;
}

function ancestors(path: string): string[] {
  const parts = path ? path.split("/") : [];
  return parts.map((_, index) => parts.slice(0, index + 1).join("/"));
}

export function DriveTree({ path, onOpen }: Props) {
  const { text } = useWords();
  const [opened, setOpened] = useState<readonly string[]>([]);
  const expanded = [...new Set([ROOT, ...ancestors(path), ...opened])];
  const paths = expanded.map((key) => (key === ROOT ? "" : key));
  const levels = useQueries({ queries: paths.map((one) => driveQueries.tree(one)) });
  const byPath = new Map<string, Level | undefined>(
    paths.map((one, index) => [one, levels[index]?.data]),
  );
  const nodesOf = (parent: string): TreeDataNode[] =>
    (byPath.get(parent)?.folders ?? []).map((folder) => ({
      key: folder.path,
      title: folder.name,
      icon: <FolderOutlined />,
      children: byPath.get(folder.path) ? nodesOf(folder.path) : undefined,
      isLeaf: byPath.get(folder.path)?.folders.length === 0,
    }));
  return (
    <nav aria-label={text.drive.tree}>
      <Tree
        blockNode
        showIcon
        treeData={[
          { key: ROOT, title: text.drive.home, icon: <FolderOutlined />, children: nodesOf("") },
        ]}
        expandedKeys={expanded}
        selectedKeys={[path || ROOT]}
        loadData={({ key }) => {
          setOpened((old) => [...new Set([...old, String(key)])]);
          return Promise.resolve();
        }}
        onExpand={(keys) => setOpened(keys.map(String))}
        onSelect={(_, { node }) => onOpen(node.key === ROOT ? "" : String(node.key))}
      />
    </nav>
  );
}
