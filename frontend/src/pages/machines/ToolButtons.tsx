// The tools of a machine: each opens in a tab of its own, which is signed in at the machine's own address.

import { Button } from "antd";
import { post } from "../../api/client";
import type { Machine } from "../../api/shapes";
import { CodeOutlined } from "../../widgets/icons";
import { useAction } from "../useAction";
import { useToolName } from "./useToolName";

/** Open a port in a new tab. The tab is opened within the click, or a browser would block it. */
export function useOpenPort(machine: Machine) {
  const { run, isBusy } = useAction();
  const open = (port: number, path = "/") =>
    run(async () => {
      const tab = window.open("", "_blank");
      try {
        const { url } = await post<{ url: string }>(`/api/machines/${machine.key}/enter/`, {
          port,
          path,
        });
        if (tab) tab.location.replace(url);
        else window.location.assign(url);
      } catch (error) {
        tab?.close();
        throw error;
      }
    });
  return { open, isBusy };
}

export function ToolButtons({ machine, isSmall = false }: { machine: Machine; isSmall?: boolean }) {
  const toolName = useToolName();
  const { open, isBusy } = useOpenPort(machine);
  return (
    <div className={isSmall ? "machine-tools in-row" : "machine-tools"}>
      {machine.tools.map((tool, index) => (
        <Button
          key={tool.name}
          size={isSmall ? "small" : "large"}
          type={!isSmall && index === 0 ? "primary" : "default"}
          icon={isSmall ? undefined : <CodeOutlined />}
          disabled={machine.status !== "running"}
          loading={isBusy}
          onClick={() => void open(tool.port)}
        >
          {toolName(tool.name)}
        </Button>
      ))}
      <Button
        size={isSmall ? "small" : "large"}
        icon={isSmall ? undefined : <CodeOutlined />}
        disabled={machine.status !== "running"}
        href={machine.status === "running" ? `/machines/${machine.key}/terminal` : undefined}
        target="_blank"
        rel="noopener"
      >
        {toolName("terminal")}
      </Button>
    </div>
  );
}
