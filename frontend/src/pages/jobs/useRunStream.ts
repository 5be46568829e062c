// The live view of one run: a stream of its events by cursor, and the job as it changes.

import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { get } from "../../api/client";
import { queries } from "../../api/queries";
import type { Job, LogPage, Run, RunEvent } from "../../api/shapes";
import { LiveSocket, type SocketState } from "../../api/socket";
import { LogStore } from "../../stores/logStore";
import { RunStream } from "../../stores/runStream";

type Message = { type: "events"; events: RunEvent[]; next_seq: number } | { type: "job"; job: Job };

function makeStream(run: Run): RunStream {
  const log = new LogStore(run.log_lines, (from_line, limit) =>
    get<LogPage>(`/api/runs/${run.id}/log/`, { from_line, limit }),
  );
  return new RunStream(run.id, run.next_seq, log);
}

export function useRunStream(run: Run): { stream: RunStream; state: SocketState } {
  const cache = useQueryClient();
  const [state, setState] = useState<SocketState>("connecting");
  // One stream per run: what the run says of itself later comes through the stream, not by a new one.
  // eslint-disable-next-line react-hooks/exhaustive-deps
  const stream = useMemo(() => makeStream(run), [run.id]);

  useEffect(() => {
    let isCurrent = true;
    const socket = new LiveSocket(() => `/ws/runs/${stream.runId}/?after=${stream.nextSeq}`, {
      onMessage: (message) => {
        const news = message as Message;
        if (news.type === "events") stream.acceptAll(news.events);
        else cache.setQueryData(queries.job(news.job.id).queryKey, news.job);
      },
      onState: (next) => isCurrent && setState(next),
    }).open();
    void cache
      .fetchQuery({ ...queries.metrics(stream.runId), staleTime: 0 })
      .then((metrics) => isCurrent && stream.loadMetrics(metrics))
      .catch(() => undefined);
    return () => {
      isCurrent = false;
      socket.close();
    };
  }, [cache, stream]);

  return { stream, state };
}
