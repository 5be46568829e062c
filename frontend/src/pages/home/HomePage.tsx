// Where you are: what runs and what it costs, what ended and how, what to do next.

import { FireOutlined } from "../../widgets/icons";
import { useQuery } from "@tanstack/react-query";
import { lazy, Suspense } from "react";
import { ENDED, RUNNING, queries } from "../../api/queries";
import { useWords } from "../../i18n";
import { LinkButton } from "../../widgets/LinkButton";
import { Loaded } from "../../widgets/Loaded";
import { PageHead } from "../../widgets/PageHead";
import { BalancePanel } from "./BalancePanel";
import { FirstSteps } from "./FirstSteps";
import { JobLine } from "./JobLine";

const LiveMachines = lazy(async () => ({
  default: (await import("./LiveMachines")).LiveMachines,
}));

export function HomePage() {
  const { text, format } = useWords();
  const { data: me } = useQuery(queries.me());
  const { data: points } = useQuery(queries.points());
  const live = useQuery(queries.jobs({ status: RUNNING, mine: true, page_size: 10 }));
  const ended = useQuery(queries.jobs({ status: ENDED, mine: true, page_size: 5 }));
  const burn = points?.burn_mpoints_per_hour ?? 0;
  return (
    <div className="page">
      <PageHead
        title={text.shell.nav.home}
        heading={<h1>{text.home.hello(me?.display_name || me?.username || "")}</h1>}
        lead={text.home.lead}
        actions={
          <LinkButton to="/launch" type="primary" size="large" icon={<FireOutlined />}>
            {text.home.launch}
          </LinkButton>
        }
      />
      <div className="home-grid">
        <div className="stack">
          {me && <FirstSteps me={me} />}
          <section className="panel flush" aria-labelledby="live">
            <div className="panel-head">
              <h2 id="live">{text.home.live}</h2>
              {burn > 0 && (
                <span className="muted small num">{text.home.liveBurn(format.points(burn))}</span>
              )}
            </div>
            <Loaded query={live}>
              {({ results }) => (
                <>
                  {results.map((job) => (
                    <JobLine key={job.id} job={job} />
                  ))}
                  <Suspense>
                    <LiveMachines isAlone={results.length === 0} />
                  </Suspense>
                </>
              )}
            </Loaded>
          </section>
          <section className="panel flush" aria-labelledby="ended">
            <div className="panel-head">
              <h2 id="ended">{text.home.ended}</h2>
            </div>
            <Loaded query={ended}>
              {({ results }) =>
                results.length ? (
                  results.map((job) => <JobLine key={job.id} job={job} />)
                ) : (
                  <p className="muted" style={{ padding: "0 20px 14px", margin: 0 }}>
                    {text.home.nothingEnded}
                  </p>
                )
              }
            </Loaded>
          </section>
        </div>
        <BalancePanel />
      </div>
    </div>
  );
}
