// Where things go: a folder is chosen in the tree, then they are moved or copied there.

import { Button, Modal } from "antd";
import { useState } from "react";
import { useWords } from "../../i18n";
import { DriveTree } from "./DriveTree";

interface Props {
  paths: readonly string[];
  from: string;
  onMove: (target: string) => void;
  onCopy: (target: string) => void;
  onClose: () => void;
}

export function MoveDialog({ paths, from, onMove, onCopy, onClose }: Props) {
  const { text } = useWords();
  const words = text.drive;
  const [target, setTarget] = useState(from);
  return (
    <Modal
      open
      title={words.moveTitle(paths.length)}
      onCancel={onClose}
      footer={[
        <Button key="cancel" onClick={onClose}>
          {text.cancel}
        </Button>,
        <Button key="copy" onClick={() => onCopy(target)}>
          {words.copyHere}
        </Button>,
        <Button key="move" type="primary" disabled={target === from} onClick={() => onMove(target)}>
          {words.moveHere}
        </Button>,
      ]}
    >
      <div style={{ maxHeight: "50vh", overflow: "auto" }}>
        <DriveTree path={target} onOpen={setTarget} />
      </div>
    </Modal>
  );
}
