"""The things that can be seen in a clip: everyday nouns and the emoji code points that draw them.

Only countable singular nouns are kept, because questions are made from them ("How many dogs are there?"). A noun may
have several drawings (a dog's face, a whole dog). Nouns that a careful viewer could confuse share a group, and are
never offered as wrong answers for one another.
"""

from __future__ import annotations

from dataclasses import dataclass

_TABLE: dict[str, str] = {
    "animal": """
        dog 1f415 1f436 | cat 1f408 1f431 | mouse 1f401 1f42d | rat 1f400 | cow 1f404 1f42e | tiger 1f405 1f42f
        leopard 1f406 | rabbit 1f407 1f430 | horse 1f40e 1f434 | goat 1f410 | sheep 1f411 | ram 1f40f
        monkey 1f412 1f435 | pig 1f416 1f437 | elephant 1f418 | koala 1f428 | camel 1f42b 1f42a | hamster 1f439
        wolf 1f43a | bear 1f43b | polar bear 1f43b-200d-2744 | panda 1f43c | chipmunk 1f43f | lion 1f981
        unicorn 1f984 | bat 1f987 | fox 1f98a | deer 1f98c | gorilla 1f98d | rhinoceros 1f98f | giraffe 1f992
        zebra 1f993 | hedgehog 1f994 | kangaroo 1f998 | llama 1f999 | hippopotamus 1f99b | raccoon 1f99d
        badger 1f9a1 | mammoth 1f9a3 | sloth 1f9a5 | otter 1f9a6 | skunk 1f9a8 | beaver 1f9ab | bison 1f9ac
        donkey 1facf | moose 1face | dragon 1f409 1f432 | crocodile 1f40a | snake 1f40d | turtle 1f422
        lizard 1f98e | dinosaur 1f995 1f996 | whale 1f40b 1f433 | octopus 1f419 | shell 1f41a | fish 1f41f 1f420
        blowfish 1f421 | dolphin 1f42c | crab 1f980 | shark 1f988 | shrimp 1f990 | squid 1f991 | lobster 1f99e
        seal 1f9ad | jellyfish 1fabc | snail 1f40c | caterpillar 1f41b | ant 1f41c | bee 1f41d | ladybug 1f41e
        spider 1f577 | scorpion 1f982 | butterfly 1f98b | cricket 1f997 | mosquito 1f99f | fly 1fab0 | worm 1fab1
        beetle 1fab2 | cockroach 1fab3 | rooster 1f413 | chicken 1f414 | chick 1f424 1f425 1f423 | bird 1f426
        penguin 1f427 | dove 1f54a | turkey 1f983 | eagle 1f985 | duck 1f986 | owl 1f989 | peacock 1f99a
        parrot 1f99c | swan 1f9a2 | dodo 1f9a4 | flamingo 1f9a9 | feather 1fab6 | goose 1fabf | frog 1f438
    """,
    "food": """
        hot dog 1f32d | taco 1f32e | burrito 1f32f | hamburger 1f354 | pizza 1f355 | chicken leg 1f357 | egg 1f95a
        croissant 1f950 | baguette 1f956 | salad 1f957 | pancake 1f95e | pretzel 1f968 | steak 1f969
        sandwich 1f96a | bagel 1f96f | waffle 1f9c7 | chestnut 1f330 | chili pepper 1f336 | corn cob 1f33d
        eggplant 1f346 | avocado 1f951 | cucumber 1f952 | potato 1f954 | carrot 1f955 | peanut 1f95c
        broccoli 1f966 | onion 1f9c5 | bell pepper 1fad1 | tomato 1f345 | melon 1f348 | watermelon 1f349
        orange 1f34a | lemon 1f34b | banana 1f34c | pineapple 1f34d | apple 1f34e 1f34f | pear 1f350 | peach 1f351
        strawberry 1f353 | kiwi 1f95d | coconut 1f965 | mango 1f96d | olive 1fad2 | rice ball 1f359
        shrimp tempura 1f364 | dumpling 1f95f | fortune cookie 1f960 | ice cream 1f366 1f368 | doughnut 1f369
        cookie 1f36a | chocolate bar 1f36b | candy 1f36c | lollipop 1f36d | honey pot 1f36f | cake 1f370 1f382
        pie 1f967 | cupcake 1f9c1 | mushroom 1f344 | fried egg 1f373 | sushi 1f363 | garlic 1f9c4
    """,
    "kitchen": """
        vase 1f3fa | knife 1f52a | spoon 1f944 | jar 1fad9 | wine glass 1f377 | cocktail 1f378 | beer mug 1f37a
        baby bottle 1f37c | milk glass 1f95b | ice cube 1f9ca | teapot 1fad6 | coffee cup 2615 | salt shaker 1f9c2
        juice box 1f9c3
    """,
    "plant": """
        pine tree 1f332 | tree 1f333 | palm tree 1f334 | cactus 1f335 | maple leaf 1f341 | tulip 1f337 | rose 1f339
        hibiscus 1f33a | sunflower 1f33b | bouquet 1f490 | lotus 1fab7 | clover 1f340 2618 | potted plant 1fab4
        cherry blossom 1f338 | daisy 1f33c
    """,
    "weather": """
        rainbow 1f308 | wave 1f30a | moon 1f319 1f315 1f31b | sun 2600 1f31e | cloud 2601 | snowman 2603 26c4
        snowflake 2744 | star 2b50 1f31f | tornado 1f32a | planet 1fa90 | globe 1f30d 1f30e 1f30f | volcano 1f30b
        mountain 26f0 1f3d4 | island 1f3dd | rock 1faa8 | fire 1f525
    """,
    "vehicle": """
        motorcycle 1f3cd | racing car 1f3ce | steam train 1f682 | bus 1f68c 1f68d | ambulance 1f691
        fire engine 1f692 | police car 1f693 1f694 | taxi 1f695 1f696 | car 1f697 1f698 | truck 1f69a 1f69b
        tractor 1f69c | bicycle 1f6b2 | scooter 1f6f4 | motor scooter 1f6f5 | skateboard 1f6f9 | rickshaw 1f6fa
        pickup truck 1f6fb | wheelchair 1f9bd 1f9bc | airplane 2708 1f6e9 | helicopter 1f681 | rocket 1f680
        satellite 1f6f0 | ufo 1f6f8 | parachute 1fa82 | ship 1f6a2 1f6f3 | speedboat 1f6a4 | canoe 1f6f6
        sailboat 26f5 | train 1f686 1f684 1f685 | tram 1f68a | traffic light 1f6a6 1f6a5 | stop sign 1f6d1
        wheel 1f6de | fuel pump 26fd
    """,
    "place": """
        house 1f3e0 1f3e1 | hut 1f6d6 | castle 1f3f0 | church 26ea | factory 1f3ed | hospital 1f3e5 | stadium 1f3df
        tent 26fa | fountain 26f2 | ferris wheel 1f3a1 | circus tent 1f3aa
    """,
    "music": """
        saxophone 1f3b7 | guitar 1f3b8 | piano keyboard 1f3b9 | trumpet 1f3ba | violin 1f3bb | drum 1f941
        flute 1fa88 | banjo 1fa95 | accordion 1fa97 | microphone 1f3a4 1f399 | radio 1f4fb | bell 1f514
        loudspeaker 1f50a | megaphone 1f4e3
    """,
    "sport": """
        basketball 1f3c0 | football 1f3c8 1f3c9 | volleyball 1f3d0 | soccer ball 26bd | baseball 26be
        boxing glove 1f94a | bowling ball 1f3b3 | tennis racket 1f3be | ping-pong paddle 1f3d3 | frisbee 1f94f
        ice skate 26f8 | sled 1f6f7 | roller skate 1f6fc | trophy 1f3c6 | medal 1f3c5 1f947 | dartboard 1f3af
        kite 1fa81 | yo-yo 1fa80 | dice 1f3b2 | teddy bear 1f9f8 | joystick 1f579 | game controller 1f3ae
        puzzle piece 1f9e9 | boomerang 1fa83 | golf flag 26f3 | balloon 1f388 | gift 1f381 | pumpkin 1f383
        christmas tree 1f384 | crystal ball 1f52e
    """,
    "clothes": """
        backpack 1f392 | graduation cap 1f393 | top hat 1f3a9 | crown 1f451 | tie 1f454 | shirt 1f455 | dress 1f457
        purse 1f45b | handbag 1f45c | shoe 1f45e | sneaker 1f45f | high heel 1f460 | sandal 1f461 | boot 1f462 1f97e
        lipstick 1f484 | ring 1f48d | diamond 1f48e | cap 1f9e2 | scarf 1f9e3 | coat 1f9e5 | helmet 1fa96 26d1
        swimsuit 1fa71 | umbrella 2602 2614 1f302
    """,
    "object": """
        camera 1f4f7 1f4f8 | film camera 1f3a5 | light bulb 1f4a1 | lantern 1f3ee | television 1f4fa
        flashlight 1f526 | candle 1f56f | magnifying glass 1f50d 1f50e | book 1f4d5 1f4d7 1f4d8 1f4d9
        open book 1f4d6 | newspaper 1f4f0 | scroll 1f4dc | wrench 1f527 | hammer 1f528 | bomb 1f4a3 | sword 1f5e1
        shield 1f6e1 | toolbox 1f9f0 | magnet 1f9f2 | axe 1fa93 | saw 1fa9a | screwdriver 1fa9b | ladder 1fa9c
        hook 1fa9d | anchor 2693 | gear 2699 | syringe 1f489 | pill 1f48a | bandage 1fa79 | stethoscope 1fa7a
        money bag 1f4b0 | credit card 1f4b3 | coin 1fa99 | laptop 1f4bb | battery 1f50b | plug 1f50c | printer 1f5a8
        computer mouse 1f5b1 | keyboard 2328 | abacus 1f9ee | briefcase 1f4bc | calendar 1f4c5 1f4c6
        clipboard 1f4cb | pushpin 1f4cc | paperclip 1f4ce | ruler 1f4cf 1f4d0 | trash can 1f5d1 | pen 1f58a 1f58b
        paintbrush 1f58c | crayon 1f58d | pencil 270f | telephone 260e | mobile phone 1f4f1 | satellite dish 1f4e1
        microscope 1f52c | telescope 1f52d | test tube 1f9ea | cardboard box 1f4e6 | envelope 2709
        mailbox 1f4eb 1f4ea | key 1f511 1f5dd | padlock 1f512 1f513 | compass 1f9ed | thermometer 1f321
        clock 1f550 1f553 1f557 | alarm clock 23f0 | watch 231a | hourglass 231b 23f3 | stopwatch 23f1 | door 1f6aa
        toilet 1f6bd | bathtub 1f6c1 | bed 1f6cf | shopping cart 1f6d2 | fire extinguisher 1f9ef | broom 1f9f9
        basket 1f9fa | toilet paper 1f9fb | sponge 1f9fd | chair 1fa91 | razor 1fa92 | mirror 1fa9e | window 1fa9f
        plunger 1faa0 | bucket 1faa3 | toothbrush 1faa5 | suitcase 1f9f3 | couch 1f6cb | picture frame 1f5bc
        paint palette 1f3a8 | brick wall 1f9f1 | log 1fab5 | barrel 1f6e2 | coffin 26b0 | safety pin 1f9f7
        disc 1f4bf 1f4c0 | floppy disk 1f4be | bow and arrow 1f3f9
    """,
}

_GROUPS: tuple[tuple[str, ...], ...] = (
    ("mouse", "rat", "hamster", "chipmunk"),
    ("cow", "bison"),
    ("goat", "ram", "sheep"),
    ("horse", "donkey", "unicorn"),
    ("deer", "moose"),
    ("bear", "polar bear", "panda", "teddy bear", "koala"),
    ("elephant", "mammoth"),
    ("lion", "tiger", "leopard", "cat"),
    ("wolf", "dog", "fox"),
    ("llama", "camel"),
    ("raccoon", "badger", "skunk", "beaver", "otter", "hedgehog", "sloth"),
    ("dinosaur", "dragon", "lizard", "crocodile"),
    (
        "rooster",
        "chicken",
        "chick",
        "turkey",
        "bird",
        "dove",
        "parrot",
        "duck",
        "goose",
        "swan",
        "dodo",
        "eagle",
        "penguin",
    ),
    ("whale", "dolphin", "shark", "fish", "blowfish", "seal"),
    ("shrimp", "lobster", "crab", "shrimp tempura", "scorpion"),
    ("octopus", "squid", "jellyfish"),
    ("ant", "beetle", "cockroach", "cricket", "fly", "mosquito", "bee", "ladybug", "spider"),
    ("snake", "worm", "caterpillar"),
    ("burrito", "taco", "sandwich", "hot dog", "hamburger"),
    ("egg", "fried egg"),
    ("pancake", "waffle"),
    ("bagel", "doughnut"),
    ("cookie", "fortune cookie"),
    ("chicken leg", "chicken", "steak"),
    ("chili pepper", "bell pepper"),
    ("apple", "peach", "orange", "tomato", "mango", "pear"),
    ("melon", "watermelon"),
    ("candy", "lollipop"),
    ("cake", "pie", "cupcake"),
    ("dumpling", "rice ball", "sushi"),
    ("cocktail", "wine glass", "beer mug", "milk glass"),
    ("jar", "honey pot", "vase"),
    ("knife", "sword"),
    ("pine tree", "tree", "palm tree", "christmas tree"),
    ("tulip", "rose", "hibiscus", "sunflower", "bouquet", "lotus", "cherry blossom", "daisy"),
    ("clover", "maple leaf", "potted plant"),
    ("moon", "planet", "globe", "sun"),
    ("mountain", "volcano", "island", "rock"),
    ("car", "taxi", "police car", "racing car", "pickup truck", "truck", "bus", "ambulance", "fire engine", "rickshaw"),
    ("train", "tram", "steam train", "bus"),
    ("motorcycle", "motor scooter", "bicycle", "scooter"),
    ("ship", "speedboat", "sailboat", "canoe"),
    ("house", "hut", "castle", "church", "factory", "hospital", "stadium"),
    ("tent", "circus tent"),
    ("guitar", "banjo", "violin"),
    ("trumpet", "saxophone"),
    ("microphone", "megaphone", "loudspeaker"),
    ("skateboard", "scooter", "roller skate", "ice skate"),
    ("basketball", "volleyball", "soccer ball", "baseball", "bowling ball", "tennis racket", "crystal ball"),
    ("trophy", "medal", "coin"),
    ("joystick", "game controller"),
    ("purse", "handbag", "backpack", "briefcase", "suitcase"),
    ("shoe", "sneaker", "boot", "high heel", "sandal"),
    ("cap", "top hat", "graduation cap", "helmet", "crown"),
    ("shirt", "dress", "coat", "swimsuit"),
    ("ring", "diamond"),
    ("camera", "film camera"),
    ("book", "open book"),
    ("light bulb", "lantern", "candle", "flashlight"),
    ("newspaper", "scroll", "calendar", "clipboard"),
    ("wrench", "hammer", "axe", "screwdriver", "saw"),
    ("pen", "pencil", "crayon", "paintbrush"),
    ("laptop", "television", "keyboard"),
    ("keyboard", "piano keyboard"),
    ("mouse", "computer mouse"),
    ("telephone", "mobile phone"),
    ("satellite", "satellite dish"),
    ("microscope", "telescope"),
    ("clock", "alarm clock", "watch", "stopwatch", "compass"),
    ("mirror", "window", "picture frame"),
    ("bucket", "basket", "trash can", "barrel"),
    ("disc", "floppy disk", "frisbee"),
    ("toilet", "toilet paper", "bathtub"),
    ("gear", "wheel"),
    ("star", "sun"),
    ("syringe", "thermometer", "test tube"),
    ("pushpin", "safety pin", "paperclip"),
    ("padlock", "key"),
    ("barrel", "drum"),
    ("bow and arrow", "boomerang"),
    ("balloon", "parachute"),
    ("loudspeaker", "radio"),
)

_IRREGULAR = {
    "mouse": "mice", "computer mouse": "computer mice", "sheep": "sheep", "deer": "deer", "moose": "moose",
    "fish": "fish", "blowfish": "blowfish", "jellyfish": "jellyfish", "bison": "bison", "goose": "geese",
    "wolf": "wolves", "knife": "knives", "maple leaf": "maple leaves", "tomato": "tomatoes", "potato": "potatoes",
    "dice": "dice", "octopus": "octopuses", "cactus": "cactuses", "shrimp": "shrimp", "squid": "squid",
    "scarf": "scarves", "sushi": "sushi", "garlic": "garlic", "toilet paper": "rolls of toilet paper",
    "bow and arrow": "bows and arrows", "shrimp tempura": "shrimp tempuras", "volcano": "volcanoes",
    "tornado": "tornadoes", "mango": "mangoes", "mosquito": "mosquitoes", "fly": "flies",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Noun:
    """One nameable thing.

    Attributes:
        name: Lower-case singular, one to three words.
        category: Coarse kind ("animal", "vehicle", ...).
        codes: Emoji code points in lower-case hex without the variation selector; each is one drawing of the thing.
    """

    name: str
    category: str
    codes: tuple[str, ...]


def _parse() -> dict[str, Noun]:
    nouns: dict[str, Noun] = {}
    for category, text in _TABLE.items():
        for line in text.strip().splitlines():
            for entry in line.split("|"):
                words = entry.split()
                codes = [word for word in words if word[0].isdigit()]
                name = " ".join(word for word in words if not word[0].isdigit())
                assert name not in nouns, f"{name!r} is listed twice"
                nouns[name] = Noun(name=name, category=category, codes=tuple(codes))
    return nouns


NOUNS: dict[str, Noun] = _parse()


def _groups() -> dict[str, frozenset[str]]:
    related: dict[str, set[str]] = {name: {name} for name in NOUNS}
    for group in _GROUPS:
        for name in group:
            related[name].update(group)
    return {name: frozenset(names) for name, names in related.items()}


CONFUSABLE: dict[str, frozenset[str]] = _groups()
"""Noun -> the nouns (itself included) that may not be offered as its wrong answers."""


def with_article(name: str) -> str:
    """`"owl"` -> `"an owl"`; names of things that take no article keep none."""
    if name in {"sushi", "garlic", "toilet paper"}:
        return name
    vowel = name[0] in "aeiou" and not name.startswith(("uni", "ufo"))
    return f"{'an' if vowel else 'a'} {name}"


def plural(name: str) -> str:
    """The plural of a noun of the table: `"fox"` -> `"foxes"`, `"mouse"` -> `"mice"`."""
    if name in _IRREGULAR:
        return _IRREGULAR[name]
    if name.endswith(("s", "x", "ch", "sh")):
        return name + "es"
    if name.endswith("y") and name[-2] not in "aeiou":
        return name[:-1] + "ies"
    return name + "s"
