// The models that are not served as all are, and a way to set one more; an operator's.

import { Button } from "antd";
import { useQuery } from "@tanstack/react-query";
import { servingQueries } from "../../api/servingQueries";
import type { ServingSettingsLine } from "../../api/shapes";
import { DataTable } from "../../widgets/DataTable";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { RelativeTime } from "../../widgets/RelativeTime";
import { RepoPicker } from "../launch/RepoPicker";
import { useServingWords } from "./words";

export function OwnSettings({ onSet }: { onSet: (model: string) => void }) {
  const words = useServingWords().settings;
  const lines = useQuery(servingQueries.allSettings());
  const list = ({ flavor, spec }: ServingSettingsLine) =>
    Object.entries({ ...(flavor !== null && { flavor }), ...spec });
  return (
    <section className="panel flush servers" style={{ marginTop: 20 }}>
      <div className="panel-head settings-head">
        <div>
          <h2>{words.own}</h2>
          <p className="muted" style={{ margin: "4px 0 0" }}>
            {words.ownText}
          </p>
        </div>
        <div className="settings-pick">
          <label htmlFor="settings-model" className="muted small">
            {words.pick}
          </label>
          <RepoPicker
            kind="model"
            id="settings-model"
            value={null}
            onChange={(model) => typeof model === "string" && onSet(model.split("@")[0] ?? model)}
            hasError={false}
          />
        </div>
      </div>
      <Loaded query={lines}>
        {(found) => (
          <DataTable<ServingSettingsLine>
            rowKey="model"
            dataSource={found}
            pagination={{ pageSize: 20, hideOnSinglePage: true }}
            locale={{ emptyText: <EmptyState title={words.ownEmpty} /> }}
            columns={[
              {
                title: words.model,
                key: "model",
                render: (_, { model }) => <span className="mono cell-name">{model}</span>,
              },
              {
                title: words.given,
                key: "given",
                render: (_, line) =>
                  list(line).map(([name, value]) => (
                    <div key={name} className="mono small note">
                      {name}: {String(value)}
                    </div>
                  )),
              },
              {
                title: words.by,
                key: "by",
                responsive: ["md"],
                render: (_, { changed_by, changed_at }) => (
                  <>
                    {changed_by}
                    <div className="muted small">
                      {changed_at && <RelativeTime iso={changed_at} />}
                    </div>
                  </>
                ),
              },
              {
                key: "set",
                align: "right",
                title: <span className="visually-hidden">{words.verb}</span>,
                render: (_, { model }) => (
                  <Button size="small" onClick={() => onSet(model)}>
                    {words.verb}
                  </Button>
                ),
              },
            ]}
          />
        )}
      </Loaded>
    </section>
  );
}
