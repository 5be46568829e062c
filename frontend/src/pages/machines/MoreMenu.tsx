// What is done to a machine seldom: restart, reset, another flavor, another name, the end.

import { useQuery } from "@tanstack/react-query";
import { Button, Dropdown, Form, Input, Modal, Select } from "antd";
import { useState } from "react";
import { useNavigate } from "react-router";
import { patch } from "../../api/client";
import { machineQueries } from "../../api/machineQueries";
import type { Machine } from "../../api/shapes";
import { useWords } from "../../i18n";
import { MoreOutlined } from "../../widgets/icons";
import { flavorsFor } from "./FlavorChoice";
import { useMachineDeeds } from "./useMachineDeeds";

export function MoreMenu({ machine }: { machine: Machine }) {
  const { text } = useWords();
  const words = text.machines;
  const navigate = useNavigate();
  const deeds = useMachineDeeds(machine, async () => navigate("/machines"));
  const [asked, setAsked] = useState<"name" | "flavor" | null>(null);
  const isStopped = machine.status === "stopped";
  const close = () => setAsked(null);
  return (
    <>
      <Dropdown
        trigger={["click"]}
        menu={{
          items: [
            {
              key: "restart",
              label: words.restart,
              disabled: machine.status !== "running",
              onClick: deeds.restart,
            },
            { key: "reset", label: words.reset, disabled: !isStopped, onClick: deeds.reset },
            {
              key: "change",
              label: words.change,
              disabled: !isStopped,
              onClick: () => setAsked("flavor"),
            },
            { key: "rename", label: words.rename, onClick: () => setAsked("name") },
            { type: "divider" },
            { key: "remove", label: words.remove, danger: true, onClick: deeds.remove },
          ],
        }}
      >
        <Button icon={<MoreOutlined />}>{words.more}</Button>
      </Dropdown>
      <RenameDialog machine={machine} isOpen={asked === "name"} onClose={close} />
      <FlavorDialog machine={machine} isOpen={asked === "flavor"} onClose={close} />
    </>
  );
}

interface DialogProps {
  machine: Machine;
  isOpen: boolean;
  onClose: () => void;
}

function RenameDialog({ machine, isOpen, onClose }: DialogProps) {
  const { text } = useWords();
  const words = text.machines;
  const { run, isBusy, renew } = useMachineDeeds(machine);
  const [form] = Form.useForm<{ name: string }>();
  const rename = async ({ name }: { name: string }) => {
    const isDone = await run(async () => {
      await patch(`/api/machines/${machine.key}/`, { name });
      await renew();
    });
    if (isDone) onClose();
  };
  return (
    <Modal
      open={isOpen}
      title={words.renameTitle}
      okText={words.rename}
      confirmLoading={isBusy}
      onCancel={onClose}
      onOk={() => form.submit()}
      forceRender
    >
      <Form
        form={form}
        name="machine-rename"
        initialValues={{ name: machine.name }}
        onFinish={(v) => void rename(v)}
      >
        <Form.Item name="name" extra={words.form.nameHelp}>
          <Input aria-label={words.form.name} maxLength={39} spellCheck={false} />
        </Form.Item>
      </Form>
    </Modal>
  );
}

function FlavorDialog({ machine, isOpen, onClose }: DialogProps) {
  const { text, format } = useWords();
  const words = text.machines;
  const { change, isBusy } = useMachineDeeds(machine);
  const options = useQuery({ ...machineQueries.options(), enabled: isOpen });
  const [flavor, setFlavor] = useState(machine.flavor.name);
  const apply = async () => {
    if (await change(flavor)) onClose();
  };
  return (
    <Modal
      open={isOpen}
      title={words.changeTitle}
      okText={words.change}
      confirmLoading={isBusy}
      onCancel={onClose}
      onOk={() => void apply()}
    >
      <p className="muted">{words.changeText}</p>
      <Select
        aria-label={words.changeTitle}
        style={{ width: "100%" }}
        value={flavor}
        onChange={setFlavor}
        options={(options.data ? flavorsFor(options.data, machine.image.name) : []).map((one) => ({
          value: one.name,
          disabled: !one.is_available,
          label: `${one.title} · ${text.pointsPerHour(format.points(one.price_mpoints_per_hour))}`,
        }))}
      />
    </Modal>
  );
}
