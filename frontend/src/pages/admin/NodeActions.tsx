// What an administrator does with a node; each question names what is lost.

import { App, Button } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { post, remove } from "../../api/client";
import { nodeQueries } from "../../api/nodeQueries";
import type { Node } from "../../api/shapes";
import { useWords } from "../../i18n";
import { useAction } from "../useAction";
import { DrainDialog } from "./DrainDialog";

export function countHeld(node: Node) {
  const machines = node.holdings.filter((held) => held.kind === "machine");
  const going = machines.filter((held) => held.is_going).length;
  return {
    runs: node.holdings.length - machines.length,
    machines: going,
    stopped: machines.length - going,
  };
}

export function NodeActions({ node }: { node: Node }) {
  const { text } = useWords();
  const words = text.nodes;
  const { modal } = App.useApp();
  const { run } = useAction();
  const cache = useQueryClient();
  const [isDraining, setIsDraining] = useState(false);
  const base = `/api/nodes/${encodeURIComponent(node.name)}/`;
  const refresh = () => cache.invalidateQueries({ queryKey: nodeQueries.list().queryKey });
  const send = (deed: string) =>
    run(async () => {
      await post(`${base}${deed}/`);
      await refresh();
    });
  const cordon = () =>
    modal.confirm({
      title: words.cordonTitle(node.name),
      content: words.cordonText,
      okText: words.cordon,
      onOk: () => send("cordon"),
    });
  const drop = () => {
    const isEmpty = node.holdings.length === 0;
    modal.confirm({
      title: words.removeTitle(node.name),
      content: isEmpty ? (
        words.removeEmpty
      ) : (
        <>
          <p>{words.removeLoses(countHeld(node))}</p>
          <p>{words.removeToken}</p>
        </>
      ),
      okText: words.remove,
      okButtonProps: { danger: true },
      onOk: () =>
        run(async () => {
          await remove(isEmpty ? base : `${base}?force=true`);
          await refresh();
        }, words.removed(node.name)),
    });
  };
  const label = (verb: string) => `${verb}: ${node.name}`;
  return (
    <>
      {node.is_cordoned ? (
        <Button
          size="small"
          aria-label={label(words.uncordon)}
          onClick={() => void send("uncordon")}
        >
          {words.uncordon}
        </Button>
      ) : (
        <Button size="small" aria-label={label(words.cordon)} onClick={cordon}>
          {words.cordon}
        </Button>
      )}
      <Button size="small" aria-label={label(words.drain)} onClick={() => setIsDraining(true)}>
        {node.drain ? words.drainChange : words.drain}
      </Button>
      <Button size="small" danger aria-label={label(words.remove)} onClick={drop}>
        {words.remove}
      </Button>
      <DrainDialog node={node} isOpen={isDraining} onClose={() => setIsDraining(false)} />
    </>
  );
}
