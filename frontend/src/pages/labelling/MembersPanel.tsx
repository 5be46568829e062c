// The annotators of a project, how each does, and inviting more.

import { Button, Input } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { post, remove } from "../../api/client";
import { queries } from "../../api/queries";
import type { LabelFigures, LabellingDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { DataTable } from "../../widgets/DataTable";
import { DeleteOutlined } from "../../widgets/icons";
import { useAction } from "../useAction";

interface Props {
  project: LabellingDetail;
  people: LabelFigures["people"];
}

export function MembersPanel({ project, people }: Props) {
  const { text, format } = useWords();
  const words = text.labelling.people;
  const [username, setUsername] = useState("");
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const address = `/api/labelling/projects/${project.id}/members/`;
  const refresh = () =>
    Promise.all([
      cache.invalidateQueries({ queryKey: queries.labelling(project.id).queryKey }),
      cache.invalidateQueries({ queryKey: queries.labelFigures(project.id).queryKey }),
    ]);
  const invite = () =>
    run(async () => {
      await post(address, { username });
      setUsername("");
      await refresh();
    });
  const sendAway = (name: string) =>
    run(async () => {
      await remove(`${address}${encodeURIComponent(name)}/`);
      await refresh();
    });
  return (
    <section className="panel">
      <h2 className="section-title">{words.title}</h2>
      <DataTable
        size="small"
        rowKey="username"
        pagination={people.length > 50 ? { pageSize: 50 } : false}
        dataSource={people}
        columns={[
          {
            title: words.username,
            render: (_, person) => (
              <>
                {person.username}{" "}
                {!person.is_active && <span className="muted small">{words.away}</span>}
              </>
            ),
          },
          {
            title: words.done,
            align: "right",
            render: (_, person) => format.number(person.num_done),
          },
          {
            title: words.skipped,
            align: "right",
            render: (_, person) => format.number(person.num_skipped),
          },
          {
            title: words.speed,
            render: (_, { median_seconds: seconds }) =>
              seconds === null ? (
                "–"
              ) : (
                <>
                  {format.duration(Math.max(1, seconds))}{" "}
                  <span className="muted small">
                    {words.perHour(format.number(3600 / Math.max(1, seconds)))}
                  </span>
                </>
              ),
          },
          {
            title: words.agreement,
            align: "right",
            render: (_, person) =>
              person.agreement === null ? "–" : format.percent(person.agreement),
          },
          {
            title: <span className="visually-hidden">{text.more}</span>,
            align: "right",
            render: (_, person) =>
              person.is_active &&
              person.username !== project.owner && (
                <Button
                  type="text"
                  icon={<DeleteOutlined />}
                  aria-label={words.remove(person.username)}
                  onClick={() => void sendAway(person.username)}
                />
              ),
          },
        ]}
      />
      <form
        className="row"
        style={{ marginTop: 12 }}
        onSubmit={(event) => {
          event.preventDefault();
          if (username.trim()) void invite();
        }}
      >
        <Input
          style={{ maxWidth: 240 }}
          aria-label={words.username}
          placeholder={words.username}
          value={username}
          onChange={(event) => setUsername(event.target.value)}
        />
        <Button htmlType="submit" loading={isBusy}>
          {words.invite}
        </Button>
      </form>
    </section>
  );
}
