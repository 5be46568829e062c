// What a person has to spend, what is held, and until when it lasts.

import { useQuery } from "@tanstack/react-query";
import { Link } from "react-router";
import { queries } from "../../api/queries";
import { useWords } from "../../i18n";
import { Figure } from "../../widgets/Figure";
import { Loaded } from "../../widgets/Loaded";
import { RelativeTime } from "../../widgets/RelativeTime";

export function BalancePanel() {
  const { text, format } = useWords();
  const points = useQuery(queries.points());
  return (
    <section className="panel">
      <Loaded query={points}>
        {(balance) => (
          <div className="stack" style={{ gap: 10 }}>
            <Figure
              isBig
              label={text.home.balance}
              value={format.points(balance.available_mpoints)}
              note={balance.held_mpoints > 0 && text.home.held(format.points(balance.held_mpoints))}
            />
            {balance.runs_out_at && (
              <p className="muted small" style={{ margin: 0 }}>
                {text.home.runsOut(format.relative(balance.runs_out_at))}{" "}
                <span className="visually-hidden">
                  <RelativeTime iso={balance.runs_out_at} />
                </span>
              </p>
            )}
            <Link to="/points">{text.pointsPage.statement}</Link>
          </div>
        )}
      </Loaded>
    </section>
  );
}
