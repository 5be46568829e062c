// Asks for a name and does something with it: another name of a machine, of its image, of its clone.

import { Form, Input, Modal } from "antd";
import { useState } from "react";
import { ApiError } from "../../api/client";
import type { Machine } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayProblem } from "../../i18n/said";
import { useFocusReturn } from "../../widgets/useFocusReturn";
import { useMachineDeeds } from "./useMachineDeeds";

interface Props {
  machine: Machine;
  onClose: () => void;
  id: string;
  title: string;
  lead?: string;
  label: string;
  okText: string;
  initial: string;
  work: (name: string) => Promise<void>;
}

export function NameDialog(props: Props) {
  const { machine, onClose, id, initial, work } = props;
  const { text } = useWords();
  const { run, isBusy, renew } = useMachineDeeds(machine);
  useFocusReturn();
  const [name, setName] = useState(initial);
  const [problem, setProblem] = useState("");
  const submit = async () => {
    await run(async () => {
      try {
        await work(name);
      } catch (error) {
        if (!(error instanceof ApiError) || !error.body.field) throw error;
        setProblem(sayProblem(text, error.body)); // at its field, and nowhere else
        return;
      }
      await renew();
      onClose();
    });
  };
  return (
    <Modal
      open
      title={props.title}
      okText={props.okText}
      confirmLoading={isBusy}
      okButtonProps={{ disabled: name === "" }}
      onCancel={onClose}
      onOk={() => void submit()}
    >
      {props.lead && <p className="muted">{props.lead}</p>}
      <Form layout="vertical" requiredMark={false} onFinish={() => void submit()}>
        <Form.Item
          label={props.label}
          htmlFor={id}
          extra={text.machines.form.nameHelp}
          help={problem || undefined}
          validateStatus={problem ? "error" : undefined}
        >
          <Input
            id={id}
            value={name}
            maxLength={39}
            spellCheck={false}
            autoFocus
            onChange={(event) => {
              setName(event.target.value);
              setProblem("");
            }}
          />
        </Form.Item>
      </Form>
    </Modal>
  );
}
