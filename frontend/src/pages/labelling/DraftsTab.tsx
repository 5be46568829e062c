// Has a model draft rows: what it would cost, how far it is, and stopping it.

import { Alert, Button, Form, Input, InputNumber, Progress, Select } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { post, remove } from "../../api/client";
import { queries } from "../../api/queries";
import type { Drafting, DraftingCost, LabellingDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayProblem } from "../../i18n/said";
import { StateTag } from "../../widgets/StateTag";
import { useAction } from "../useAction";
import { useDelayed } from "../useDelayed";

interface Values {
  model: string;
  num_rows: number;
  system?: string;
  max_tokens: number;
  limit?: number;
}

const ACTIVE = ["waiting", "running", "stopping"];
const LOOKS: Record<string, string> = {
  waiting: "starting",
  paused: "none",
  finished: "succeeded",
};

export function DraftsTab({ project }: { project: LabellingDetail }) {
  const { text, format } = useWords();
  const words = text.labelling.drafts;
  const left = project.num_rows - project.num_drafted;
  const isActive = ACTIVE.includes(project.drafting?.state ?? "");
  return (
    <div className="stack">
      {project.drafting && <Round project={project} drafting={project.drafting} />}
      <section className="panel">
        <p style={{ marginTop: 0 }}>
          {words.lead[project.kind]} {words.keeps}
        </p>
        <p className="muted num">{left > 0 ? words.left(format.number(left)) : words.all}</p>
        {left > 0 && !isActive && <Start project={project} left={left} />}
      </section>
    </div>
  );
}

function Round({ project, drafting }: { project: LabellingDetail; drafting: Drafting }) {
  const { text, format } = useWords();
  const words = text.labelling.drafts;
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const all = drafting.end_row - drafting.first_row;
  const stop = () =>
    run(async () => {
      await remove(`/api/labelling/projects/${project.id}/drafting/`);
      await cache.invalidateQueries({ queryKey: queries.labelling(project.id).queryKey });
    });
  return (
    <section className="panel" data-testid="drafting">
      <div className="row between">
        <StateTag
          state={LOOKS[drafting.state] ?? drafting.state}
          word={words.state[drafting.state]}
        />
        <span className="mono small break">{drafting.model}</span>
      </div>
      <Progress
        percent={(100 * (drafting.next_row - drafting.first_row)) / all}
        showInfo={false}
        aria-label={words.state[drafting.state]}
      />
      <div className="row num">
        <span>{words.made(format.number(drafting.num_made), format.number(all))}</span>
        {drafting.num_failed > 0 && (
          <span className="muted">{words.failed(format.number(drafting.num_failed))}</span>
        )}
        {drafting.spent_mpoints > 0 && (
          <span className="muted">{words.spent(format.points(drafting.spent_mpoints))}</span>
        )}
      </div>
      {drafting.message && (
        <Alert
          type={drafting.state === "paused" ? "warning" : "info"}
          showIcon
          style={{ marginTop: 10 }}
          title={sayProblem(text, { code: drafting.code, message: drafting.message, params: {} })}
        />
      )}
      {ACTIVE.includes(drafting.state) && (
        <Button
          style={{ marginTop: 12 }}
          loading={isBusy}
          disabled={drafting.state === "stopping"}
          onClick={() => void stop()}
        >
          {words.stop}
        </Button>
      )}
    </section>
  );
}

function Start({ project, left }: { project: LabellingDetail; left: number }) {
  const { text, format } = useWords();
  const words = text.labelling.drafts;
  const [form] = Form.useForm<Values>();
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const models = useQuery(queries.playgroundModels());
  const numRows = useDelayed(Form.useWatch("num_rows", form) ?? 0, 300);
  const model = Form.useWatch("model", form) ?? ""; // some are served at another price
  const address = `/api/labelling/projects/${project.id}/drafting/`;
  const cost = useQuery({
    queryKey: ["labelling", "cost", project.id, numRows, model, project.num_drafted],
    queryFn: () => post<DraftingCost>(`${address}cost/`, { num_rows: numRows, model }),
    enabled: numRows > 0,
  });
  const start = ({ limit, ...wish }: Values) =>
    run(async () => {
      const limitMpoints = Math.round((limit ?? 0) * 1000);
      await post(address, { ...wish, limit_mpoints: limitMpoints });
      await cache.invalidateQueries({ queryKey: queries.labelling(project.id).queryKey });
    });
  const rate = cost.data?.rate_mpoints_per_hour ?? 0;
  return (
    <Form<Values>
      form={form}
      layout="vertical"
      style={{ maxWidth: 560 }}
      initialValues={{ num_rows: Math.min(100, left), max_tokens: 512 }}
      onFinish={(values) => void start(values)}
    >
      <Form.Item
        name="model"
        label={words.model}
        rules={[{ required: true, message: words.modelNeeded }]}
      >
        <Select
          showSearch
          loading={models.isFetching}
          options={(models.data ?? []).map((model) => ({ value: model.id, label: model.id }))}
        />
      </Form.Item>
      <div className="row" style={{ alignItems: "flex-start" }}>
        <Form.Item name="num_rows" label={words.rows}>
          <InputNumber min={1} max={Math.min(left, 100_000)} precision={0} />
        </Form.Item>
        <Form.Item name="max_tokens" label={words.maxTokens}>
          <InputNumber min={1} max={8192} precision={0} />
        </Form.Item>
        {rate > 0 && (
          <Form.Item name="limit" label={words.limit} rules={[{ required: true }]}>
            <InputNumber min={0.001} step={1} />
          </Form.Item>
        )}
      </div>
      <Form.Item name="system" label={words.system}>
        <Input.TextArea
          maxLength={20_000}
          autoSize={{ minRows: 1, maxRows: 8 }}
          placeholder={text.optional}
        />
      </Form.Item>
      {cost.data && (
        <p className="muted num row" role="status">
          <span>
            {words.cost(format.number(cost.data.num_rows), format.duration(cost.data.seconds))}
          </span>
          {!cost.data.is_measured && <span className="small">{words.guessed}</span>}
          <span>{rate > 0 ? words.costPoints(format.points(cost.data.mpoints)) : words.free}</span>
        </p>
      )}
      <Button type="primary" htmlType="submit" loading={isBusy}>
        {words.start}
      </Button>
    </Form>
  );
}
