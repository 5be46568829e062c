// My dev machines that run or are about to, in lines as jobs have them. Fetched behind the first screen.

import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { machineQueries } from "../../api/machineQueries";
import { useWords } from "../../i18n";
import { EmptyState } from "../../widgets/EmptyState";
import { RelativeTime } from "../../widgets/RelativeTime";
import { StateTag } from "../../widgets/StateTag";
import { TimeLeft } from "../machines/TimeLeft";

const RESTING = new Set(["stopped", "deleting", "deleted"]);

/** `isAlone` says that no job is live: where no machine is either, that is said. */
export function LiveMachines({ isAlone }: { isAlone: boolean }) {
  const { text, format } = useWords();
  const { data } = useQuery(machineQueries.list());
  const live = data?.filter((machine) => !RESTING.has(machine.status)) ?? [];
  if (live.length === 0) {
    if (!isAlone) return null;
    return <EmptyState title={text.home.nothingLive} text={text.home.nothingLiveText} />;
  }
  return live.map((machine) => (
    <Link key={machine.key} to={`/machines/${machine.key}`} className="job-line">
      <span className="what">
        <span className="name ellipsis" style={{ display: "block" }}>
          {machine.name}
        </span>
        <span className="muted small">
          <StateTag
            state={machine.status === "running" ? "online" : machine.status}
            word={text.machines.status[machine.status] ?? machine.status}
          />{" "}
          <RelativeTime iso={machine.status_since} />
          {machine.status === "running" && (
            <>
              {" · "}
              <TimeLeft machine={machine} />
            </>
          )}
        </span>
      </span>
      <span className="num muted">
        {text.pointsPerHour(format.points(machine.flavor.price_mpoints_per_hour))}
      </span>
    </Link>
  ));
}
