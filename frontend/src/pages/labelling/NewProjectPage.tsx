// Begins a labelling project over a dataset: what to do with its rows, and with whom.

import { App, Button, Form, Input, InputNumber, Radio, Select, Switch } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { useNavigate, useSearchParams } from "react-router";
import { ApiError, post } from "../../api/client";
import type { LabelKind, LabellingDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayProblem } from "../../i18n/said";
import { PageHead } from "../../widgets/PageHead";
import { RepoPicker } from "../launch/RepoPicker";
import { useAction } from "../useAction";

interface Values {
  dataset: string;
  name?: string;
  kind: LabelKind;
  text_field?: string;
  labels?: string[];
  num_annotators: number;
  shows_names: boolean;
  instructions?: string;
  people?: string[];
}

const KINDS: LabelKind[] = ["review", "rank", "spans"];
const FIELDS = ["dataset", "name", "kind", "text_field", "labels", "instructions"];

export function NewProjectPage() {
  const { text } = useWords();
  const words = text.labelling.form;
  const [params] = useSearchParams();
  const [form] = Form.useForm<Values>();
  const { run, isBusy } = useAction();
  const { message } = App.useApp();
  const cache = useQueryClient();
  const navigate = useNavigate();
  const kind = Form.useWatch("kind", form);
  const dataset = Form.useWatch("dataset", form);

  const begin = async ({ people = [], ...wish }: Values) => {
    try {
      const body = { ...wish, dataset: wish.dataset.split("@")[0] };
      const made = await post<LabellingDetail>("/api/labelling/projects/", body);
      for (const username of people) {
        try {
          await post(`/api/labelling/projects/${made.id}/members/`, { username });
        } catch {
          void message.warning(words.notInvited(username));
        }
      }
      await cache.invalidateQueries({ queryKey: ["labelling"] });
      await navigate(`/labelling/${made.id}`);
    } catch (error) {
      if (error instanceof ApiError && error.body.field && FIELDS.includes(error.body.field)) {
        const name = error.body.field as keyof Values;
        form.setFields([{ name, errors: [sayProblem(text, error.body)] }]);
        form.scrollToField(name, { focus: true });
      }
      throw error;
    }
  };
  return (
    <div className="page">
      <PageHead title={words.title} lead={words.lead} />
      <section className="panel" style={{ maxWidth: 720 }}>
        <Form<Values>
          form={form}
          layout="vertical"
          initialValues={{
            dataset: params.get("dataset") ?? "",
            kind: "review",
            num_annotators: 1,
            shows_names: true,
          }}
          scrollToFirstError={{ focus: true }}
          onFinish={(values) => void run(() => begin(values))}
        >
          <Form.Item
            name="dataset"
            label={words.dataset}
            rules={[{ required: true, message: words.datasetNeeded }]}
          >
            <RepoPicker
              kind="dataset"
              id="dataset"
              value={dataset}
              onChange={(value) => form.setFieldValue("dataset", value)}
              hasError={false}
            />
          </Form.Item>
          <Form.Item name="kind" label={words.kind}>
            <Radio.Group
              options={KINDS.map((value) => ({
                value,
                label: (
                  <>
                    {text.labelling.kind[value]}{" "}
                    <span className="muted small">{text.labelling.kindHelp[value]}</span>
                  </>
                ),
              }))}
              vertical
            />
          </Form.Item>
          {kind === "spans" && <SpanFields />}
          <Form.Item name="name" label={words.name}>
            <Input maxLength={120} placeholder={text.optional} />
          </Form.Item>
          <Form.Item name="num_annotators" label={words.people} extra={words.peopleHelp}>
            <InputNumber min={1} max={5} precision={0} />
          </Form.Item>
          <Form.Item name="people" label={words.invite} extra={words.inviteHelp}>
            <Select mode="tags" open={false} suffixIcon={null} tokenSeparators={[",", " "]} />
          </Form.Item>
          <Form.Item name="instructions" label={words.instructions}>
            <Input.TextArea maxLength={20_000} autoSize={{ minRows: 2, maxRows: 12 }} />
          </Form.Item>
          <Form.Item name="shows_names" label={words.names} valuePropName="checked">
            <Switch />
          </Form.Item>
          <Button type="primary" htmlType="submit" loading={isBusy}>
            {words.create}
          </Button>
        </Form>
      </section>
    </div>
  );
}

function SpanFields() {
  const { text } = useWords();
  const words = text.labelling.form;
  return (
    <>
      <Form.Item
        name="text_field"
        label={words.textField}
        extra={words.textFieldHelp}
        initialValue="text"
        rules={[{ required: true, message: words.textFieldNeeded }]}
      >
        <Input maxLength={200} />
      </Form.Item>
      <Form.Item
        name="labels"
        label={words.labels}
        extra={words.labelsHelp}
        rules={[{ required: true, message: words.labelsNeeded }]}
      >
        <Select mode="tags" open={false} suffixIcon={null} tokenSeparators={[","]} maxCount={50} />
      </Form.Item>
    </>
  );
}
