// The log of a run: follow, search with count, wrap, links to lines, download, and whether it is complete.

import {
  DownOutlined,
  DownloadOutlined,
  SafetyCertificateOutlined,
  UpOutlined,
  VerticalAlignBottomOutlined,
  WarningOutlined,
} from "../../widgets/icons";
import { App, Button, Checkbox, Input, Tooltip } from "antd";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { queries } from "../../api/queries";
import type { Run } from "../../api/shapes";
import { useWords } from "../../i18n";
import type { LogStore } from "../../stores/logStore";
import { useStore } from "../../stores/useStore";
import { copyText } from "../../widgets/CopyButton";
import { LogView } from "../../widgets/LogView";
import { useDelayed } from "../useDelayed";
import { useUrlState } from "../useUrlState";

interface Props {
  run: Run;
  log: LogStore;
  isLive: boolean;
}

export function LogTab({ run, log, isLive }: Props) {
  const { text, format } = useWords();
  const words = text.jobs.log;
  const { message } = App.useApp();
  const [read, write] = useUrlState();
  const linked = Number(read("line")) || 0;
  const [isFollowing, setIsFollowing] = useState(isLive && linked === 0);
  const [isWrapped, setIsWrapped] = useState(false);
  const [search, setSearch] = useState("");
  const [match, setMatch] = useState(0);
  const [target, setTarget] = useState<number | null>(linked > 0 ? linked - 1 : null);
  const query = useDelayed(search.trim(), 250);
  const { data: found } = useQuery({
    ...queries.logMatches(run.id, query),
    refetchInterval: isLive && query ? 3000 : false,
  });
  const { total } = useStore(log);
  const matches = query ? (found?.matches ?? []) : [];

  const goTo = (index: number) => {
    const wanted = matches[(index + matches.length) % matches.length];
    if (!wanted) return;
    setMatch(((index + matches.length) % matches.length) + 1);
    setIsFollowing(false);
    setTarget(wanted.line);
  };
  const copyLink = (line: number) => {
    write({ line: String(line + 1) });
    setTarget(line);
    setIsFollowing(false);
    const address = new URL(location.href);
    address.searchParams.set("line", String(line + 1));
    void copyText(address.href).then(() => message.success(words.linkCopied));
  };
  return (
    <div className="panel flush log-frame">
      <div className="log-tools">
        <Input
          allowClear
          style={{ width: 220 }}
          aria-label={words.search}
          placeholder={words.search}
          value={search}
          onChange={(event) => {
            setSearch(event.target.value);
            setMatch(0);
          }}
          onPressEnter={(event) => goTo(event.shiftKey ? match - 2 : match)}
        />
        {query && found && (
          <span className="small num" role="status">
            {words.matches(match, found.count)}
          </span>
        )}
        <Button
          icon={<UpOutlined />}
          aria-label={words.previous}
          disabled={matches.length === 0}
          onClick={() => goTo(match - 2)}
        />
        <Button
          icon={<DownOutlined />}
          aria-label={words.next}
          disabled={matches.length === 0}
          onClick={() => goTo(match)}
        />
        <Checkbox checked={isWrapped} onChange={(event) => setIsWrapped(event.target.checked)}>
          {words.wrap}
        </Checkbox>
        <span style={{ flex: 1 }} />
        <Button
          icon={<VerticalAlignBottomOutlined />}
          type={isFollowing ? "primary" : "default"}
          aria-pressed={isFollowing}
          onClick={() => setIsFollowing(true)}
        >
          {isLive ? (isFollowing ? words.following : words.follow) : words.toEnd}
        </Button>
        <Button icon={<DownloadOutlined />} href={`/api/runs/${run.id}/log/download/`} download>
          {words.download}
        </Button>
      </div>
      <LogView
        log={log}
        label={words.label}
        emptyText={words.empty}
        lineLinkLabel={words.link}
        isFollowing={isFollowing}
        onFollow={setIsFollowing}
        isWrapped={isWrapped}
        highlight={query}
        target={target}
        onLineClick={copyLink}
      />
      <div className="log-foot small">
        <span className="num">{words.lines(format.number(total))}</span>
        <span className="muted num">{format.bytes(run.log_bytes)}</span>
        {run.log_complete === true && (
          <Tooltip title={words.completeText}>
            <span className="state good" tabIndex={0}>
              <SafetyCertificateOutlined /> {words.complete}
            </span>
          </Tooltip>
        )}
        {run.log_complete === false && (
          <Tooltip title={words.incompleteText}>
            <span className="state bad" tabIndex={0}>
              <WarningOutlined /> {words.incomplete}
            </span>
          </Tooltip>
        )}
      </div>
    </div>
  );
}
