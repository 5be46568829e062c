// What runs now and what it burns, from any page.

import { FireFilled, FireOutlined } from "../../widgets/icons";
import { Button, Popover, Progress } from "antd";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "react-router";
import { RUNNING, queries } from "../../api/queries";
import type { Job } from "../../api/shapes";
import { useWords } from "../../i18n";
import { StateTag } from "../../widgets/StateTag";

function TrayLine({ job, onGo }: { job: Job; onGo: () => void }) {
  const { text } = useWords();
  const { progress } = job;
  const ratio = progress?.total ? progress.done / progress.total : 0;
  return (
    <Link to={`/jobs/${job.id}`} className="job-line" style={{ padding: "8px 4px" }} onClick={onGo}>
      <span className="what">
        <span className="name ellipsis" style={{ display: "block" }}>
          {job.name}
        </span>
        <StateTag state={job.status} word={text.status[job.status]} />
      </span>
      {progress?.stage === "train" && (
        <Progress type="circle" size={30} percent={Math.round(ratio * 100)} aria-label={job.name} />
      )}
    </Link>
  );
}

export function Tray() {
  const { text, format } = useWords();
  const [isOpen, setIsOpen] = useState(false);
  const { data: jobs } = useQuery(queries.jobs({ status: RUNNING, mine: true, page_size: 10 }));
  const { data: points } = useQuery(queries.points());
  const num = jobs?.count ?? 0;
  const title = text.shell.tray.title(num);
  return (
    <Popover
      trigger="click"
      placement="bottomRight"
      open={isOpen}
      onOpenChange={setIsOpen}
      title={title}
      content={
        <div style={{ width: "min(300px, 78vw)" }}>
          {jobs?.results.map((job) => (
            <TrayLine key={job.id} job={job} onGo={() => setIsOpen(false)} />
          ))}
          <div className="row between" style={{ marginTop: 8 }}>
            <span className="muted small">
              {num > 0 &&
                points &&
                text.shell.tray.burn(format.points(points.burn_mpoints_per_hour))}
            </span>
            <Link to="/jobs" onClick={() => setIsOpen(false)}>
              {text.shell.tray.all}
            </Link>
          </div>
        </div>
      }
    >
      <Button
        type="text"
        className="num"
        icon={num > 0 ? <FireFilled style={{ color: "var(--ember)" }} /> : <FireOutlined />}
        aria-label={title}
      >
        {num > 0 ? num : undefined}
      </Button>
    </Popover>
  );
}
