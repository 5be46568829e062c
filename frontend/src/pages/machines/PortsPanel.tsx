// Ports of a machine that others may open: with whom, until when, at which address.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Button, Form, InputNumber, Select } from "antd";
import { remove } from "../../api/client";
import { machineQueries, put } from "../../api/machineQueries";
import type { Machine, MachinePort } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CopyButton } from "../../widgets/CopyButton";
import { DataTable } from "../../widgets/DataTable";
import { EmptyState } from "../../widgets/EmptyState";
import { Loaded } from "../../widgets/Loaded";
import { RelativeTime } from "../../widgets/RelativeTime";
import { useAction } from "../useAction";
import { useIsNarrow } from "./useIsNarrow";
import { useNow } from "./useNow";

const HOUR_S = 3600;
const LENGTHS = { forEver: 0, hour: HOUR_S, day: 24 * HOUR_S, week: 7 * 24 * HOUR_S } as const;
type Length = keyof typeof LENGTHS;

interface Values {
  port: number;
  audience: string;
  length: Length;
}

export function PortsPanel({ machine }: { machine: Machine }) {
  const { text } = useWords();
  const words = text.machines.ports;
  const ports = useQuery(machineQueries.ports(machine.key));
  const cache = useQueryClient();
  const { run, isBusy } = useAction();
  const [form] = Form.useForm<Values>();
  const now = useNow();
  const isNarrow = useIsNarrow();
  const base = `/api/machines/${machine.key}/ports/`;
  const renew = () => cache.invalidateQueries({ queryKey: ["machines", "ports", machine.key] });

  const publish = ({ port, audience, length }: Values) =>
    run(async () => {
      const seconds = LENGTHS[length];
      const until = seconds ? new Date(Date.now() + seconds * 1000).toISOString() : null;
      await put(`${base}${port}/`, { audience, until });
      await renew();
    });
  const end = (port: number) =>
    run(async () => {
      await remove(`${base}${port}/`);
      await renew();
    });
  const showUntil = (until: string | null) => {
    if (until === null) return words.forEver;
    return new Date(until).getTime() <= now ? words.past : <RelativeTime iso={until} />;
  };
  return (
    <section className="panel flush">
      <div className="panel-head">
        <h2>{words.title}</h2>
      </div>
      <p className="muted" style={{ margin: "0 20px 14px" }}>
        {words.text}
      </p>
      <Form<Values>
        form={form}
        name="publish"
        layout="inline"
        requiredMark={false}
        style={{ margin: "0 20px 14px", rowGap: 8 }}
        initialValues={{ port: 7860, audience: "class", length: "day" }}
        onFinish={(values) => void publish(values)}
      >
        <Form.Item name="port" label={words.port} rules={[{ required: true, message: words.port }]}>
          <InputNumber min={1} max={65535} precision={0} />
        </Form.Item>
        <Form.Item name="audience" label={words.audience}>
          <Select
            style={{ minWidth: 150 }}
            options={["private", "class", "public"].map((value) => ({
              value,
              label: words.who[value],
            }))}
          />
        </Form.Item>
        <Form.Item name="length" label={words.until}>
          <Select
            style={{ minWidth: 130 }}
            options={(Object.keys(LENGTHS) as Length[]).map((value) => ({
              value,
              label: words[value],
            }))}
          />
        </Form.Item>
        <Button htmlType="submit" type="primary" loading={isBusy}>
          {words.publish}
        </Button>
      </Form>
      <Loaded query={ports}>
        {(list) => (
          <DataTable<MachinePort>
            rowKey="port"
            dataSource={list}
            pagination={false}
            scroll={isNarrow ? {} : { x: "max-content" }}
            locale={{ emptyText: <EmptyState title={words.none} /> }}
            columns={[
              {
                title: words.port,
                key: "port",
                render: (_, one) => (
                  <>
                    <a href={one.url} target="_blank" rel="noreferrer" className="break">
                      {one.url}
                    </a>{" "}
                    <CopyButton text={one.url} size="small" />
                    {isNarrow && (
                      <div className="muted small">
                        {words.who[one.audience]} · {showUntil(one.until)}
                      </div>
                    )}
                  </>
                ),
              },
              {
                title: words.audience,
                key: "who",
                responsive: ["md"],
                render: (_, one) => words.who[one.audience],
              },
              {
                title: words.until,
                key: "until",
                responsive: ["md"],
                render: (_, one) => showUntil(one.until),
              },
              {
                key: "end",
                align: "right",
                title: <span className="visually-hidden">{words.end}</span>,
                render: (_, one) => (
                  <Button size="small" danger onClick={() => void end(one.port)}>
                    {words.end}
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
