// How one server is, in its own words, asked again while it is looked at.

import { Descriptions } from "antd";
import { useQuery } from "@tanstack/react-query";
import { servingQueries } from "../../api/servingQueries";
import { useWords } from "../../i18n";
import { Loaded } from "../../widgets/Loaded";
import { StateTag } from "../../widgets/StateTag";
import { useServingWords } from "./words";

export function HealthView({ id }: { id: string }) {
  const { format } = useWords();
  const words = useServingWords().health;
  const health = useQuery(servingQueries.health(id));
  const show = (value: unknown) =>
    typeof value === "number" ? format.number(value) : String(value ?? "");
  return (
    <Loaded query={health}>
      {({ status, facts }) =>
        status === "unreachable" ? (
          <p className="muted">{words.unreachable}</p>
        ) : (
          <>
            <StateTag
              state={status === "ok" ? "ready" : "failed"}
              word={status === "ok" ? words.ok : words.failed}
            />
            <Descriptions
              size="small"
              column={{ xs: 1, sm: 2 }}
              style={{ marginTop: 12 }}
              items={Object.entries(words.facts)
                .filter(([name]) => name in facts)
                .map(([name, label]) => ({ key: name, label, children: show(facts[name]) }))}
            />
          </>
        )
      }
    </Loaded>
  );
}
