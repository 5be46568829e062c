// Registers an image, or says anew what one is; what the studio refuses is said at its field.

import { App, Form, Input, Modal, Select } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { ApiError, post } from "../../api/client";
import { machineQueries } from "../../api/machineQueries";
import { nodeQueries } from "../../api/nodeQueries";
import type { RegisteredImage } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayFlavor } from "../../i18n/told";
import { sayProblem } from "../../i18n/said";
import { useFocusReturn } from "../../widgets/useFocusReturn";
import { useAction } from "../useAction";

interface Values {
  name: string;
  reference: string;
  title: string;
  tools: string;
  flavors: string[];
}

const NOTHING: Values = { name: "", reference: "", title: "", tools: "", flavors: [] };
const TOOL = /^[a-z0-9][a-z0-9-]{0,39}=\d{1,6}$/;

interface Props {
  /** None where a new one is to be registered. */
  known: RegisteredImage | null;
  onClose: () => void;
}

function linesOf(text: string): string[] {
  return text.split(/[\n,]+/).flatMap((line) => line.trim() || []);
}

function toValues(image: RegisteredImage): Values {
  const tools = Object.entries(image.tools).map(([name, port]) => `${name}=${port}`);
  return { ...image, tools: tools.join("\n") };
}

function toBody(values: Values) {
  const pairs = linesOf(values.tools).map((line) => line.split("="));
  const tools = Object.fromEntries(pairs.map(([name, port]) => [name, Number(port)]));
  return { ...values, name: values.name.trim(), reference: values.reference.trim(), tools };
}

export function ImageDialog({ known, onClose }: Props) {
  const { text } = useWords();
  const words = text.images.form;
  useFocusReturn();
  const [form] = Form.useForm<Values>();
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const { message } = App.useApp();
  /** Say what was refused at its fields; whether all of it has one. */
  const mark = (error: ApiError): boolean => {
    const marked = error.problems.filter((problem) => problem.field !== null);
    form.setFields(
      marked.map((problem) => ({
        name: problem.field?.split(".")[0] as keyof Values,
        errors: [sayProblem(text, problem)],
      })),
    );
    return marked.length === error.problems.length;
  };
  const submit = async (values: Values) => {
    await run(async () => {
      try {
        await post<RegisteredImage>("/api/machine-images/", toBody(values));
      } catch (error) {
        if (!(error instanceof ApiError) || !mark(error)) throw error;
        return;
      }
      await cache.invalidateQueries({ queryKey: nodeQueries.images().queryKey });
      await cache.invalidateQueries({ queryKey: ["machines"] });
      void message.success(text.images.saved(values.name));
      onClose();
    });
  };
  return (
    <Modal
      open
      title={known ? words.changeTitle(known.name) : words.title}
      okText={words.submit}
      confirmLoading={isBusy}
      onCancel={onClose}
      onOk={() => form.submit()}
    >
      <Form<Values>
        form={form}
        name="image"
        layout="vertical"
        requiredMark={false}
        initialValues={known ? toValues(known) : NOTHING}
        scrollToFirstError={{ focus: true }}
        onFinish={(values) => void submit(values)}
      >
        <ImageFields isKnown={known !== null} />
      </Form>
      {known && <p className="muted small">{words.anew}</p>}
    </Modal>
  );
}

function ImageFields({ isKnown }: { isKnown: boolean }) {
  const { text, language } = useWords();
  const words = text.images.form;
  const { data: options } = useQuery(machineQueries.options());
  const checkTools = (_: unknown, value: string) => {
    const wrong = linesOf(value).find((line) => !TOOL.test(line));
    return wrong ? Promise.reject(new Error(words.toolsBad(wrong))) : Promise.resolve();
  };
  return (
    <>
      <Form.Item
        name="name"
        label={words.name}
        extra={words.nameHelp}
        rules={[{ required: true, message: words.needed }]}
      >
        <Input autoComplete="off" spellCheck={false} disabled={isKnown} />
      </Form.Item>
      <Form.Item
        name="reference"
        label={words.reference}
        extra={words.referenceHelp}
        rules={[{ required: true, message: words.needed }]}
      >
        <Input className="mono" autoComplete="off" spellCheck={false} />
      </Form.Item>
      <Form.Item name="title" label={words.label} extra={words.labelHelp}>
        <Input autoComplete="off" />
      </Form.Item>
      <Form.Item
        name="tools"
        label={words.tools}
        extra={words.toolsHelp}
        rules={[{ validator: checkTools }]}
      >
        <Input.TextArea className="mono" autoSize={{ minRows: 2, maxRows: 8 }} spellCheck={false} />
      </Form.Item>
      <Form.Item name="flavors" label={words.flavors} extra={words.flavorsHelp}>
        <Select
          mode="multiple"
          allowClear
          options={(options?.flavors ?? []).map((flavor) => ({
            value: flavor.name,
            label: sayFlavor(language, flavor.title),
          }))}
        />
      </Form.Item>
    </>
  );
}
