// One import: where from, how far and how fast it is, and what can be done with it.

import { Alert, Button, Input, Progress } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "react-router";
import { post } from "../../api/client";
import { importQueries, isLiving, type ImportSeen } from "../../api/importQueries";
import { useWords } from "../../i18n";
import { sayProblem } from "../../i18n/said";
import { LinkButton } from "../../widgets/LinkButton";
import { RelativeTime } from "../../widgets/RelativeTime";
import { StateTag } from "../../widgets/StateTag";
import { useAction } from "../useAction";
import { isDrive } from "./source";

const LOOKS: Record<ImportSeen["state"], string> = {
  waiting: "queued",
  fetching: "running",
  storing: "running",
  done: "succeeded",
  failed: "failed",
  cancelled: "stopped",
};

export function ImportLine({ item }: { item: ImportSeen }) {
  const { text } = useWords();
  const words = text.imports;
  const id = `${item.namespace}/${item.name}`;
  const page = `/${item.kind}s/${id}`;
  const isEnding = isLiving(item) && item.is_cancel_wished;
  return (
    <li className="import-line" data-state={item.state}>
      <div className="row between">
        <span className="mono break import-name">
          {item.state === "done" ? <Link to={page}>{id}</Link> : id}
        </span>
        <StateTag
          state={isEnding ? "stopping" : LOOKS[item.state]}
          word={isEnding ? words.ending : words.state[item.state]}
        />
      </div>
      <div className="muted small">
        <span className="break">{item.source}</span>
        {" · "}
        <RelativeTime iso={item.ended_at ?? item.created_at} />
      </div>
      {isLiving(item) && item.state !== "waiting" && <HowFar item={item} name={id} />}
      {item.state === "failed" && item.problem && (
        <Alert type="error" showIcon title={sayProblem(text, item.problem)} />
      )}
      <Verbs item={item} name={id} page={page} />
    </li>
  );
}

function HowFar({ item, name }: { item: ImportSeen; name: string }) {
  const { text, format } = useWords();
  const words = text.imports;
  if (item.bytes_total === 0 && item.files_total === 0) {
    return <div className="muted small">{words.looking}</div>;
  }
  const ratio = item.bytes_total ? Math.min(1, item.bytes_done / item.bytes_total) : 0;
  const said = [
    words.bytes(format.bytes(item.bytes_done), format.bytes(item.bytes_total)),
    words.files(format.number(item.files_done), format.number(item.files_total)),
    item.speed !== null && words.speed(format.bytes(Math.round(item.speed))),
  ];
  return (
    <div>
      <Progress percent={Math.floor(ratio * 100)} aria-label={words.progressOf(name)} />
      <div className="muted small num">{said.filter(Boolean).join(" · ")}</div>
      <div className="muted small mono ellipsis import-file" title={item.current_file}>
        {item.current_file || "\u00a0"}
      </div>
    </div>
  );
}

function Verbs({ item, name, page }: { item: ImportSeen; name: string; page: string }) {
  const { text } = useWords();
  const words = text.imports;
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const [token, setToken] = useState("");
  const ask = (verb: "cancel" | "retry", body: object) =>
    run(async () => {
      await post(`/api/imports/${item.id}/${verb}/`, body);
      setToken("");
      await cache.invalidateQueries({ queryKey: importQueries.list().queryKey });
    });
  if (isLiving(item)) {
    return (
      <div className="row">
        <Button
          size="small"
          aria-label={words.cancelOf(name)}
          disabled={item.is_cancel_wished}
          loading={isBusy}
          onClick={() => void ask("cancel", {})}
        >
          {words.cancel}
        </Button>
      </div>
    );
  }
  if (item.state === "done") {
    return (
      <div className="row">
        <LinkButton size="small" to={page} aria-label={words.openOf(name)}>
          {words.open}
        </LinkButton>
      </div>
    );
  }
  return (
    <div className="row">
      {item.state === "failed" && !isDrive(item.source) && (
        <Input.Password
          size="small"
          className="import-token"
          autoComplete="off"
          maxLength={1000}
          placeholder={words.retryToken}
          aria-label={words.retryToken}
          value={token}
          onChange={(event) => setToken(event.target.value)}
        />
      )}
      <Button
        size="small"
        aria-label={words.retryOf(name)}
        loading={isBusy}
        onClick={() => void ask("retry", { token })}
      >
        {words.retry}
      </Button>
      {item.state === "failed" && item.bytes_done > 0 && !isDrive(item.source) && (
        <span className="muted small">{words.retryHelp}</span>
      )}
    </div>
  );
}
