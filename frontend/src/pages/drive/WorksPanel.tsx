// Zips, unzips and copies under way: how far each is, with a way to end it.

import { Alert, Button, Progress } from "antd";
import { useQuery } from "@tanstack/react-query";
import { useEffect, useRef, useState } from "react";
import { driveQueries, isLiving, nameOf } from "../../api/driveQueries";
import type { DriveWork } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayProblem } from "../../i18n/said";
import { useDriveActions } from "./useDriveActions";

/** The works that lived at some moment while this page was open, newest first. */
function useWorksSeen(): { works: DriveWork[]; dismiss: (id: string) => void } {
  const { data: works } = useQuery(driveQueries.works());
  const { refresh } = useDriveActions();
  const [opened] = useState(() => Date.now());
  const [dismissed, setDismissed] = useState<readonly string[]>([]);
  const numLiving = works?.filter(isLiving).length ?? 0;
  const before = useRef(0);
  useEffect(() => {
    if (numLiving < before.current) void refresh(); // one has ended: its result is there
    before.current = numLiving;
  }, [numLiving, refresh]);
  const seen = (works ?? []).filter(
    (work) =>
      !dismissed.includes(work.id) &&
      (isLiving(work) || (work.ended_at && Date.parse(work.ended_at) > opened)),
  );
  return { works: seen, dismiss: (id) => setDismissed([...dismissed, id]) };
}

function WorkLine({ work, onClose }: { work: DriveWork; onClose: () => void }) {
  const { text } = useWords();
  const words = text.drive.works;
  const actions = useDriveActions();
  const title = words[work.kind](nameOf(work.paths[0] ?? "") || text.drive.home);
  if (!isLiving(work)) {
    const isDone = work.state === "done";
    const problem = work.problem as { code?: string; message?: string; params?: object };
    const said = isDone
      ? words.done(work.result_path)
      : work.state === "cancelled"
        ? words.cancelled
        : `${words.failed}: ${sayProblem(text, { code: problem.code ?? "", message: problem.message ?? "", params: { ...problem.params } })}`;
    return (
      <Alert
        type={isDone ? "success" : work.state === "failed" ? "error" : "info"}
        showIcon
        title={said}
        closable={{ onClose, "aria-label": text.close }}
      />
    );
  }
  const percent = work.total_bytes ? Math.floor((work.done_bytes / work.total_bytes) * 100) : 0;
  return (
    <div className="row" role="status">
      <span className="ellipsis" style={{ flex: 1, minWidth: 120 }}>
        {title}
      </span>
      {work.state === "waiting" ? (
        <span className="muted">{words.waiting}</span>
      ) : (
        <Progress percent={percent} style={{ width: 180 }} aria-label={title} />
      )}
      <Button size="small" onClick={() => void actions.cancelWork(work.id)}>
        {words.cancel}
      </Button>
    </div>
  );
}

export function WorksPanel() {
  const { works, dismiss } = useWorksSeen();
  if (works.length === 0) return null;
  return (
    <div className="stack drive-bar" data-testid="works">
      {works.map((work) => (
        <WorkLine key={work.id} work={work} onClose={() => dismiss(work.id)} />
      ))}
    </div>
  );
}
