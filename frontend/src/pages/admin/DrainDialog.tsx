// Empties a node: when its machines stop, what their owners read, and whether jobs stop too.

import { Form, Input, Modal, Radio, Select } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { post } from "../../api/client";
import { nodeQueries } from "../../api/nodeQueries";
import type { Node } from "../../api/shapes";
import { useWords } from "../../i18n";
import { useFocusReturn } from "../../widgets/useFocusReturn";
import { useAction } from "../useAction";

interface Values {
  reason: string;
  grace_s: number;
  stops_runs: boolean;
}

interface Props {
  node: Node;
  onClose: () => void;
}

const DAY_S = 24 * 3600;

export function DrainDialog({ node, onClose }: Props) {
  const { text } = useWords();
  const words = text.nodes.drainForm;
  useFocusReturn();
  const [form] = Form.useForm<Values>();
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const drain = async (values: Values) => {
    const isDone = await run(async () => {
      await post(`/api/nodes/${encodeURIComponent(node.name)}/drain/`, values);
      await cache.invalidateQueries({ queryKey: nodeQueries.list().queryKey });
    });
    if (isDone) onClose();
  };
  return (
    <Modal
      open
      title={words.title(node.name)}
      okText={words.submit}
      okButtonProps={{ danger: true }}
      confirmLoading={isBusy}
      onCancel={onClose}
      onOk={() => form.submit()}
    >
      <p className="muted">{words.text}</p>
      <Form<Values>
        form={form}
        name={`drain-${node.name}`}
        layout="vertical"
        initialValues={{ reason: node.drain?.reason ?? "", grace_s: 600, stops_runs: false }}
        onFinish={(values) => void drain(values)}
      >
        <Form.Item name="grace_s" label={words.grace}>
          <Select
            options={[
              { value: 0, label: words.now },
              ...[10, 30, 60].map((minutes) => ({
                value: minutes * 60,
                label: words.after(minutes),
              })),
              { value: DAY_S, label: words.day },
            ]}
          />
        </Form.Item>
        <Form.Item name="reason" label={words.reason} extra={words.reasonHelp}>
          <Input maxLength={200} />
        </Form.Item>
        <Form.Item name="stops_runs" label={words.runs}>
          <Radio.Group
            options={[
              { value: false, label: words.runsStay },
              { value: true, label: words.runsStop },
            ]}
          />
        </Form.Item>
      </Form>
    </Modal>
  );
}
